"""Rows that wait to be written together: many cost one statement little more than one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Executable

from edgemesh.model.objects import ObjectKey
from edgemesh.store import statements

# What frees an address, a name or a uid comes before what takes it; owners before what they own.
_ORDER = (
    statements.DELETE_OBJECT,
    statements.INSERT_TOMBSTONE,
    statements.INSERT_OBJECT,
    statements.UPDATE_OBJECT,
    statements.DELETE_LABELS,
    statements.INSERT_LABELS,
    statements.DELETE_SELECTOR,
    statements.INSERT_SELECTOR,
    statements.DELETE_ALLOCATIONS,
    statements.INSERT_ALLOCATIONS,
)


class PendingRows:
    """Rows of one transaction, sorted by what is to be done with them.

    Args:
        connection: of the transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: dict[Executable, list[Mapping[str, Any]]] = {each: [] for each in _ORDER}
        self._about: set[ObjectKey] = set()

    def begin(self, key: ObjectKey) -> None:
        """Begin with an object; what waits of it is written first, or the order would be lost."""
        if key in self._about:
            self.flush()
        self._about.add(key)

    def go_on(self, key: ObjectKey) -> None:
        """Go on with an object that is there by then, whether it waits itself or is written."""
        self._about.add(key)

    def add(self, statement: Executable, rows: Sequence[Mapping[str, Any]]) -> None:
        """Let rows wait."""
        self._rows[statement].extend(rows)

    def flush(self) -> None:
        """Write what waits."""
        self._about.clear()
        for statement, rows in self._rows.items():
            if rows:
                self._connection.execute(statement, rows)
                rows.clear()
