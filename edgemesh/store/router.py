"""What the router keeps: its tables follow the objects, and remember what became of rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session, selectinload

from edgemesh.model.router import RouterEndpoint, RouterRule
from edgemesh.store.router_tables import RouterEndpointRow, RuleErrorRow, RuleRow
from edgemesh.store.store import Store


class RuleOutcome(NamedTuple):
    """What became of a rule's Messages and calls since it was last told.

    Args:
        successes, failures: how many.
        errors: sentences about failures, the latest last.
    """

    successes: int = 0
    failures: int = 0
    errors: tuple[str, ...] = ()


class RouterStore:
    """The router's side of a store."""

    def __init__(self, store: Store, *, max_errors: int, max_deleted: int) -> None:
        """Open nothing; the store is the caller's.

        Args:
            store: where the tables are.
            max_errors: of each rule that are kept, the latest.
            max_deleted: rules that are kept after their objects went, the latest.
        """
        self._store = store
        self._max_errors = max_errors
        self._max_deleted = max_deleted

    async def keep(self, endpoints: Iterable[RouterEndpoint], rules: Iterable[RouterRule]) -> None:
        """Make the tables say what all objects together say; counts stay.

        Raises:
            StoreError: nothing was changed.
        """
        wanted_endpoints = {one.id: _endpoint_values(one) for one in endpoints}
        wanted_rules = {one.id: _rule_values(one) for one in rules}

        def write(connection: Connection) -> None:
            _follow(connection, RouterEndpointRow, wanted_endpoints)
            _follow(connection, RuleRow, wanted_rules)
            _mark_deleted(connection, wanted_rules.keys())
            _forget_deleted(connection, self._max_deleted)
            _drop_endpoints(connection, wanted_endpoints.keys())

        await self._store.write_rows(write)

    async def count(self, outcomes: Mapping[str, RuleOutcome]) -> None:
        """Add to the counts of rules, by their ids; one that is not there is passed over.

        Raises:
            StoreError: nothing was changed.
        """

        def write(connection: Connection) -> None:
            known = set(connection.scalars(select(RuleRow.id).where(RuleRow.id.in_(outcomes))))
            for rule, outcome in outcomes.items():
                if rule in known:
                    connection.execute(_ADD, _added(rule, outcome))
                    self._note_errors(connection, rule, outcome.errors)

        await self._store.write_rows(write)

    async def outcomes(self) -> dict[str, RuleOutcome]:
        """Everything that was counted, by the rules' ids."""

        def read(connection: Connection) -> dict[str, RuleOutcome]:
            errors: dict[str, list[str]] = {}
            query = select(RuleErrorRow.rule, RuleErrorRow.message).order_by(RuleErrorRow.id)
            for rule, message in connection.execute(query):
                errors.setdefault(rule, []).append(message)
            counts = select(RuleRow.id, RuleRow.success_messages, RuleRow.fail_messages)
            return {
                rule: RuleOutcome(successes, failures, tuple(errors.get(rule, ())))
                for rule, successes, failures in connection.execute(counts)
            }

        return await self._store.read_rows(read)

    async def rules(self) -> list[dict[str, Any]]:
        """All rules, those that are deleted too, as JSON values with their endpoints."""

        def read(connection: Connection) -> list[dict[str, Any]]:
            with Session(connection) as session:
                ends = (RuleRow.source_endpoint, RuleRow.target_endpoint)
                query = select(RuleRow).options(*map(selectinload, ends)).order_by(RuleRow.name)
                return [_rule_json(row) for row in session.scalars(query)]

        return await self._store.read_rows(read)

    def _note_errors(self, connection: Connection, rule: str, errors: tuple[str, ...]) -> None:
        latest = errors[-self._max_errors :]
        if not latest:
            return
        rows = [{"rule": rule, "message": message} for message in latest]
        connection.execute(insert(RuleErrorRow), rows)
        newest = select(RuleErrorRow.id).where(RuleErrorRow.rule == rule)
        oldest_kept = connection.scalars(
            newest.order_by(RuleErrorRow.id.desc()).offset(self._max_errors - 1).limit(1)
        ).one_or_none()
        if oldest_kept is not None:
            connection.execute(
                delete(RuleErrorRow).where(RuleErrorRow.rule == rule, RuleErrorRow.id < oldest_kept)
            )


_ADD = (
    update(RuleRow)
    .where(RuleRow.id == bindparam("of_rule"))
    .values(
        success_messages=RuleRow.success_messages + bindparam("successes"),
        fail_messages=RuleRow.fail_messages + bindparam("failures"),
        # Being counted is no change of the rule.
        updated_at=RuleRow.updated_at,
    )
)


def _added(rule: str, outcome: RuleOutcome) -> dict[str, Any]:
    return {"of_rule": rule, "successes": outcome.successes, "failures": outcome.failures}


def _endpoint_values(one: RouterEndpoint) -> dict[str, Any]:
    return {
        "type": one.type.value,
        "name": one.name,
        "project_id": one.project_id or None,
        "is_shared": one.is_shared,
        "properties": dict(one.properties),
    }


def _rule_values(one: RouterRule) -> dict[str, Any]:
    return {
        "name": one.name,
        "project_id": one.project_id,
        "domain_id": one.domain_id,
        "source": one.source.id,
        "source_resource": dict(one.source_resource),
        "target": one.target.id,
        "target_resource": dict(one.target_resource),
        "in_use": one.in_use,
        "is_deleted": False,
    }


def _follow(
    connection: Connection,
    table: type[RouterEndpointRow | RuleRow],
    wanted: Mapping[str, Mapping[str, Any]],
) -> None:
    """Insert what is new and change what differs; what is equal keeps its ``updated_at``."""
    present = {row["id"]: row for row in connection.execute(select(table)).mappings()}
    for identity, values in wanted.items():
        row = present.get(identity)
        if row is None:
            connection.execute(insert(table).values(id=identity, **values))
        elif any(row[name] != value for name, value in values.items()):
            connection.execute(update(table).where(table.id == identity).values(**values))


def _mark_deleted(connection: Connection, wanted: Iterable[str]) -> None:
    gone = RuleRow.id.not_in(list(wanted)) & RuleRow.is_deleted.is_(False)
    connection.execute(update(RuleRow).where(gone).values(is_deleted=True, in_use=False))


def _forget_deleted(connection: Connection, kept: int) -> None:
    deleted = select(RuleRow.id).where(RuleRow.is_deleted.is_(True))
    beyond = connection.scalars(
        deleted.order_by(RuleRow.updated_at.desc(), RuleRow.id).offset(kept)
    ).all()
    if beyond:
        connection.execute(delete(RuleErrorRow).where(RuleErrorRow.rule.in_(beyond)))
        connection.execute(delete(RuleRow).where(RuleRow.id.in_(beyond)))


def _drop_endpoints(connection: Connection, wanted: Iterable[str]) -> None:
    """Drop those whose objects are gone, but for those that a rule still names."""
    named = select(func.count(RuleRow.id)).where(
        or_(RuleRow.source == RouterEndpointRow.id, RuleRow.target == RouterEndpointRow.id)
    )
    connection.execute(
        delete(RouterEndpointRow).where(
            RouterEndpointRow.id.not_in(list(wanted)), named.scalar_subquery() == 0
        )
    )


def _endpoint_json(row: RouterEndpointRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "type": row.type,
        "name": row.name,
        "project_id": row.project_id or "",
        "is_shared": row.is_shared,
        "properties": row.properties,
        "created_at": f"{row.created_at.isoformat()}Z",
        "updated_at": f"{row.updated_at.isoformat()}Z",
    }


def _rule_json(row: RuleRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "project_id": row.project_id,
        "domain_id": row.domain_id,
        "source": _endpoint_json(row.source_endpoint),
        "source_resource": row.source_resource,
        "target": _endpoint_json(row.target_endpoint),
        "target_resource": row.target_resource,
        "in_use": row.in_use,
        "is_deleted": row.is_deleted,
        "created_at": f"{row.created_at.isoformat()}Z",
        "updated_at": f"{row.updated_at.isoformat()}Z",
        "success_messages": row.success_messages,
        "fail_messages": row.fail_messages,
    }
