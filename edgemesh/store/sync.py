"""Queries about what a node has from its cloud."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, bindparam, delete, insert, select

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
_HOLDER = select(ObjectRow.kind, ObjectRow.namespace, ObjectRow.name).where(
    ObjectRow.uid == bindparam("wanted")
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


def synced_keys(connection: Connection) -> Iterator[ObjectKey]:
    """Every object that came from the cloud."""
    return (ObjectKey(*row) for row in connection.execute(_SYNCED_KEYS).all())


def holder_of(connection: Connection, uid: str) -> ObjectKey | None:
    """The object that has a uid, None when none has."""
    row = connection.execute(_HOLDER, {"wanted": uid}).one_or_none()
    return None if row is None else ObjectKey(*row)
