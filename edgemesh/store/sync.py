"""Queries about what a node has from its cloud."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, bindparam, delete, exists, insert, literal, select

from edgemesh.model.objects import ObjectKey, Origin
from edgemesh.model.sync import SyncPosition
from edgemesh.store.sync_tables import SyncRow
from edgemesh.store.tables import ObjectRow

_READ_POSITION = select(SyncRow.store, SyncRow.revision)
_DELETE_POSITION = delete(SyncRow)
_INSERT_POSITION = insert(SyncRow)
_SYNCED_KEYS = select(ObjectRow.kind, ObjectRow.namespace, ObjectRow.name).where(
    ObjectRow.origin == Origin.SYNCED.value
)
_SYNCED_KEYS_OF_KIND = _SYNCED_KEYS.where(ObjectRow.kind == bindparam("of_kind"))
_OWN_SERVICES = select(literal(1)).where(
    exists().where(ObjectRow.kind == "Service", ObjectRow.origin != Origin.SYNCED.value)
)


def read_position(connection: Connection) -> SyncPosition:
    """How far the cloud was followed; nothing at all in a new store."""
    row = connection.execute(_READ_POSITION).one_or_none()
    return SyncPosition() if row is None else SyncPosition(row.store, row.revision)


def write_position(connection: Connection, position: SyncPosition) -> None:
    """Note how far the cloud was followed."""
    connection.execute(_DELETE_POSITION)
    values = {"id": 1, "store": position.store, "revision": position.revision}
    connection.execute(_INSERT_POSITION, values)


def synced_keys(connection: Connection, kind: str) -> Iterator[ObjectKey]:
    """Every object of a kind, or of all kinds, that came from the cloud."""
    statement = _SYNCED_KEYS_OF_KIND if kind else _SYNCED_KEYS
    rows = connection.execute(statement, {"of_kind": kind} if kind else {})
    return (ObjectKey(*row) for row in rows.all())


def has_own_services(connection: Connection) -> bool:
    """Whether there is a Service that did not come from the cloud."""
    return connection.execute(_OWN_SERVICES).one_or_none() is not None
