"""Kubernetes objects as edgemesh stores and passes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple


class ObjectKey(NamedTuple):
    """What names an object: its kind, its namespace ("" when it has none) and its name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """``Service default/web``, for messages to people."""
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {where}{self.name}"


class Origin(StrEnum):
    """Who put an object into the store; each origin replaces only its own."""

    APPLIED = "applied"
    DERIVED = "derived"
    SYNCED = "synced"


@dataclass(frozen=True, slots=True)
class KubeObject:
    """One object.

    Args:
        key: its name.
        uid: stable over the object's life.
        resource_version: the store's revision of the last change, rising, never reused.
        labels: of ``metadata``.
        body: the whole object as JSON values, never changed in place.
        origin: who put it here.
    """

    key: ObjectKey
    uid: str
    resource_version: int
    labels: Mapping[str, str]
    body: Mapping[str, Any]
    origin: Origin = Origin.APPLIED


class ChangeType(StrEnum):
    """What happened to an object; values are the operations of a Message."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Change:
    """One object after (insert, update) or before (delete) its change."""

    type: ChangeType
    object: KubeObject
