"""One write transaction: what the writer thread does between begin and commit."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Executable

from edgemesh.model.objects import Change, ChangeType, KubeObject, ObjectKey, Origin
from edgemesh.model.sync import SyncPosition
from edgemesh.store import queries, statements, sync
from edgemesh.store.notices import notify
from edgemesh.store.pending import PendingRows
from edgemesh.store.rows import Scope, encode_body, make_object, object_from_row, text_values

# The first word of a notice that objects have changed.
REVISION_NOTICE = "revision"


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
        self._pending = PendingRows(connection)
        # What was read or written here; None for what is not there.
        self._known: dict[ObjectKey, KubeObject | None] = {}
        self._holders: dict[str, ObjectKey | None] = {}
        self._owners: dict[str, ObjectKey | None] = {}
        self._having: set[ObjectKey] = set()
        self._first, self._floor = connection.execute(statements.TAKE_REVISION).one()
        self.revision: int = self._first
        self.changes: list[Change] = []

    def get(self, key: ObjectKey) -> KubeObject | None:
        """The object of this name, None when there is none."""
        if key not in self._known:
            self._known[key] = queries.find_object(self._connection, key)
        return self._known[key]

    def load(
        self, kind: str, keys: Sequence[ObjectKey], uids: Sequence[str], values: Sequence[str]
    ) -> None:
        """Read at once what will be asked for one by one.

        Args:
            kind: of all objects.
            keys: for `get`.
            uids: for `holder_of`.
            values: for `owner_of`.
        """
        self._pending.flush()
        connection = self._connection
        self._known.update(queries.find_objects(connection, kind, keys))
        self._holders.update(queries.find_holders(connection, uids))
        self._own(queries.find_owners(connection, values))

    def with_labels(self, kind: str, namespace: str, labels: Mapping[str, str]) -> list[KubeObject]:
        """The objects of a kind in a namespace that have all of these labels."""
        self._pending.flush()
        rows = self._connection.execute(
            statements.objects_with_labels(len(labels)),
            {"of_kind": kind, "of_namespace": namespace, **statements.pair_parameters(labels)},
        )
        return [object_from_row(row) for row in rows]

    def services_selecting(self, namespace: str, labels: Mapping[str, str]) -> list[str]:
        """Names of the Services of a namespace that select a Pod with these labels."""
        if not labels:
            return []
        self._pending.flush()
        names = self._connection.scalars(
            statements.services_selecting(len(labels)),
            {"of_namespace": namespace, **statements.pair_parameters(labels)},
        )
        return list(names)

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
            for field in ("uid", "creationTimestamp", "resourceVersion"):
                metadata[field] = kept[field]
            if existing.origin is origin and existing.body == {**body, "metadata": metadata}:
                return existing
        body = {**body, "metadata": metadata}
        new = make_object(key, metadata["uid"], self._next(), origin, body)
        self._pending.begin(key)
        self._write(new, existing)
        self._index(new, existing)
        self._known[key] = new
        self._holders[new.uid] = key
        kind = ChangeType.INSERT if existing is None else ChangeType.UPDATE
        self.changes.append(Change(kind, new))
        return new

    def delete(self, existing: KubeObject) -> None:
        """Delete an object that this transaction has read."""
        revision = self._next()
        self._pending.begin(existing.key)
        self._execute(statements.DELETE_OBJECT, _named(existing))
        values = _values(existing) | {"uid": existing.uid, "revision": revision}
        self._execute(statements.INSERT_TOMBSTONE, values)
        self._known[existing.key] = None
        self._holders[existing.uid] = None
        self._disown(existing.key)
        body = {**existing.body, "metadata": dict(existing.body["metadata"])}
        gone = make_object(existing.key, existing.uid, revision, existing.origin, body)
        self.changes.append(Change(ChangeType.DELETE, gone))

    def owner_of(self, value: str) -> ObjectKey | None:
        """The Service that has this address or node port, None when it is free."""
        if value not in self._owners:
            self._pending.flush()
            self._own(queries.find_owners(self._connection, (value,)))
        return self._owners[value]

    def allocate(self, service: KubeObject, values: Sequence[str]) -> None:
        """Give a Service these addresses and node ports in place of those that it had."""
        self._pending.go_on(service.key)
        self._execute(statements.DELETE_ALLOCATIONS, {"of_service": service.uid})
        rows = [{"value": value, "service_uid": service.uid} for value in values]
        self._pending.add(statements.INSERT_ALLOCATIONS, rows)
        self._disown(service.key)
        self._own(dict.fromkeys(values, service.key))

    def holder_of(self, uid: str) -> ObjectKey | None:
        """The object that has this uid, None when none has."""
        if uid not in self._holders:
            self._pending.flush()
            self._holders |= queries.find_holders(self._connection, (uid,))
        return self._holders[uid]

    def synced_keys(self, kind: str = "") -> Iterator[ObjectKey]:
        """Every object that came from the cloud, of one kind or of all."""
        self._pending.flush()
        return sync.synced_keys(self._connection, kind)

    def synced_objects(self, kind: str) -> list[KubeObject]:
        """Every object of a kind that came from the cloud."""
        self._pending.flush()
        found = queries.list_objects(self._connection, Scope(kind))
        return [one for one in found if one.origin is Origin.SYNCED]

    def has_own_services(self) -> bool:
        """Whether there is a Service that did not come from the cloud."""
        self._pending.flush()
        return sync.has_own_services(self._connection)

    def note_position(self, position: SyncPosition) -> None:
        """Note how far the cloud was followed, this transaction included."""
        sync.write_position(self._connection, position)

    def finish(self) -> None:
        """Write the count of revisions and drop tombstones that are too old to keep."""
        if self.revision == self._first:
            return
        self._pending.flush()
        floor = max(self._floor, self.revision - self._history)
        connection = self._connection
        connection.execute(statements.DROP_TOMBSTONES, {"floor": floor})
        connection.execute(statements.WRITE_REVISION, {"value": self.revision, "floor": floor})
        notify(self._connection, f"{REVISION_NOTICE} {self.revision}")

    def _next(self) -> int:
        self.revision += 1
        return self.revision

    def _own(self, owners: Mapping[str, ObjectKey | None]) -> None:
        """Know who has what."""
        self._owners |= owners
        self._having.update(filter(None, owners.values()))

    def _disown(self, service: ObjectKey) -> None:
        """Forget what a Service was known to have."""
        if service not in self._having:
            return
        self._having.discard(service)
        for value in [value for value, owner in self._owners.items() if owner == service]:
            self._owners[value] = None

    def _execute(self, statement: Executable, parameters: dict[str, Any]) -> None:
        self._pending.add(statement, (parameters,))

    def _write(self, new: KubeObject, existing: KubeObject | None) -> None:
        values = _values(new) | {"resource_version": new.resource_version}
        if existing is None:
            values |= {"uid": new.uid, "created_revision": new.resource_version}
            self._execute(statements.INSERT_OBJECT, values)
        else:
            changed = {name: values[name] for name in ("resource_version", "origin", "body")}
            self._execute(statements.UPDATE_OBJECT, _named(new) | changed)

    def _index(self, new: KubeObject, existing: KubeObject | None) -> None:
        """Keep labels and selectors, which are searched, beside the body, which is not."""
        owner = new.key._asdict()
        if new.labels != (existing.labels if existing else {}):
            if existing:
                self._execute(statements.DELETE_LABELS, _named(new))
            rows = [{**owner, "key": key, "value": value} for key, value in new.labels.items()]
            self._pending.add(statements.INSERT_LABELS, rows)
        selector = _selector(new)
        if selector != (_selector(existing) if existing else {}):
            if existing:
                self._execute(statements.DELETE_SELECTOR, _named(new))
            size = len(selector)
            rows = [
                {**owner, "key": key, "value": value, "size": size}
                for key, value in selector.items()
            ]
            self._pending.add(statements.INSERT_SELECTOR, rows)


def _named(one: KubeObject) -> dict[str, str]:
    return statements.scope_parameters(Scope(*one.key))


def _values(one: KubeObject) -> dict[str, Any]:
    return {**one.key._asdict(), "origin": one.origin.value, "body": encode_body(one.body)}


def _selector(one: KubeObject) -> dict[str, str]:
    """Of a Service, the labels that its Pods have; empty for anything else."""
    if one.key.kind != "Service":
        return {}
    return text_values((one.body.get("spec") or {}).get("selector"))
