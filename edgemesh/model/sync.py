"""How far a node has followed a cloud's store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SyncPosition:
    """What a node has of a cloud's store.

    Args:
        store: the uid of that store, "" when none was ever followed to its head.
        revision: of that store; all that happened up to it is on disk here.
    """

    store: str = ""
    revision: int = 0
