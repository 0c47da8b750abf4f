"""One write transaction: what the writer thread does between begin and commit."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from edgemesh.model.objects import Change, ChangeType, KubeObject, ObjectKey, Origin
from edgemesh.store import queries
from edgemesh.store.rows import Scope, encode_body, make_object, text_values
from edgemesh.store.tables import (
    AllocationRow,
    LabelRow,
    ObjectRow,
    RevisionRow,
    SelectorRow,
    TombstoneRow,
)
from edgemesh.wire.labelselector import Selector


class Transaction:
    """Reads and changes of one transaction; nothing of it is seen before the commit.

    Lives in the writer thread only and must not be kept.

    Args:
        connection: in its transaction.
        now: the time that new objects are given, as RFC 3339 text.
        history: how many revisions tombstones are kept for.
    """

    def __init__(self, connection: Connection, now: str, history: int) -> None:
        self._connection = connection
        self._now = now
        self._history = history
        # The lock lets no other writer count from the same value, on databases with several.
        counter = select(RevisionRow.value, RevisionRow.floor).with_for_update()
        self._first, self._floor = connection.execute(counter).one()
        self.revision = self._first
        self.changes: list[Change] = []

    def get(self, key: ObjectKey) -> KubeObject | None:
        """The object of this name, None when there is none."""
        return queries.find_object(self._connection, key)

    def read(self, scope: Scope, selector: Selector = ()) -> list[KubeObject]:
        """Objects of a scope whose labels satisfy a selector."""
        return queries.list_objects(self._connection, scope, selector)

    def services_selecting(self, namespace: str, labels: Mapping[str, str]) -> list[str]:
        """Names of the Services of a namespace that select a Pod with these labels."""
        return queries.services_selecting(self._connection, namespace, labels)

    def put(
        self,
        key: ObjectKey,
        body: Mapping[str, Any],
        origin: Origin,
        existing: KubeObject | None,
    ) -> KubeObject:
        """Insert an object, or replace the existing one; an equal one is left untouched.

        ``metadata`` of the body is given uid, creationTimestamp and resourceVersion; a uid in
        it counts for a new object only.

        Args:
            key: its name.
            body: the object, JSON values.
            origin: who puts it here.
            existing: what ``get`` returned for this key.
        """
        metadata = dict(body["metadata"])
        if existing is None:
            metadata.setdefault("uid", str(uuid.uuid4()))
            metadata.setdefault("creationTimestamp", self._now)
        else:
            kept = existing.body["metadata"]
            metadata |= {name: kept[name] for name in ("uid", "creationTimestamp")}
            metadata["resourceVersion"] = kept["resourceVersion"]
            if existing.origin == origin and existing.body == {**body, "metadata": metadata}:
                return existing
        new = make_object(
            key, metadata["uid"], self._next(), origin, {**body, "metadata": metadata}
        )
        self._write(new, existing)
        kind = ChangeType.INSERT if existing is None else ChangeType.UPDATE
        self.changes.append(Change(kind, new))
        return new

    def delete(self, existing: KubeObject) -> None:
        """Delete an object that ``get`` or ``read`` returned."""
        revision = self._next()
        kind, namespace, name = existing.key
        self._connection.execute(delete(ObjectRow).where(*_named(ObjectRow, existing.key)))
        self._connection.execute(
            insert(TombstoneRow),
            {
                "revision": revision,
                "kind": kind,
                "namespace": namespace,
                "name": name,
                "uid": existing.uid,
                "origin": existing.origin.value,
                "body": encode_body(existing.body),
            },
        )
        gone = make_object(
            existing.key,
            existing.uid,
            revision,
            existing.origin,
            {**existing.body, "metadata": dict(existing.body["metadata"])},
        )
        self.changes.append(Change(ChangeType.DELETE, gone))

    def owner_of(self, value: str) -> ObjectKey | None:
        """The Service that has this address or node port, None when it is free."""
        columns = (ObjectRow.kind, ObjectRow.namespace, ObjectRow.name)
        statement = (
            select(*columns)
            .join(AllocationRow, AllocationRow.service_uid == ObjectRow.uid)
            .where(AllocationRow.value == value)
        )
        row = self._connection.execute(statement).one_or_none()
        return None if row is None else ObjectKey(*row)

    def allocate(self, service_uid: str, values: Iterable[str]) -> None:
        """Give a Service these addresses and node ports in place of those that it had."""
        self._connection.execute(
            delete(AllocationRow).where(AllocationRow.service_uid == service_uid)
        )
        rows = [{"value": value, "service_uid": service_uid} for value in values]
        if rows:
            self._connection.execute(insert(AllocationRow), rows)

    def finish(self) -> None:
        """Write the count of revisions and drop tombstones that are too old to keep."""
        if self.revision == self._first:
            return
        floor = max(self._floor, self.revision - self._history)
        self._connection.execute(delete(TombstoneRow).where(TombstoneRow.revision <= floor))
        self._connection.execute(update(RevisionRow).values(value=self.revision, floor=floor))

    def _next(self) -> int:
        self.revision += 1
        return self.revision

    def _write(self, new: KubeObject, existing: KubeObject | None) -> None:
        kind, namespace, name = new.key
        values: dict[str, Any] = {
            "resource_version": new.resource_version,
            "origin": new.origin.value,
            "body": encode_body(new.body),
        }
        if existing is None:
            values |= {"kind": kind, "namespace": namespace, "name": name, "uid": new.uid}
            values["created_revision"] = new.resource_version
            self._connection.execute(insert(ObjectRow), values)
        else:
            self._connection.execute(
                update(ObjectRow).where(*_named(ObjectRow, new.key)).values(values)
            )
        self._index(new, existing)

    def _index(self, new: KubeObject, existing: KubeObject | None) -> None:
        owner = dict(zip(("kind", "namespace", "name"), new.key, strict=True))
        before = existing.labels if existing else {}
        if new.labels != before:
            self._replace(LabelRow, owner, new.labels, {}, existing)
        if new.key.kind == "Service":
            selector = _selector(new)
            if selector != (_selector(existing) if existing else {}):
                self._replace(SelectorRow, owner, selector, {"size": len(selector)}, existing)

    def _replace(
        self,
        table: type[LabelRow | SelectorRow],
        owner: dict[str, str],
        pairs: Mapping[str, str],
        common: dict[str, int],
        existing: KubeObject | None,
    ) -> None:
        if existing is not None:
            self._connection.execute(delete(table).where(*_named(table, existing.key)))
        rows = [{**owner, "key": key, "value": value, **common} for key, value in pairs.items()]
        if rows:
            self._connection.execute(insert(table), rows)


def _named(table: type[ObjectRow | LabelRow | SelectorRow], key: ObjectKey) -> tuple[Any, ...]:
    return (table.kind == key.kind, table.namespace == key.namespace, table.name == key.name)


def _selector(service: KubeObject) -> Mapping[str, str]:
    return text_values((service.body.get("spec") or {}).get("selector"))
