"""Which objects the selectors of a followed resource choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgemesh.model.reflection import Resource
from edgemesh.wire.labelselector import parse_selector, selects


def chooses(resource: Resource, body: Mapping[str, Any]) -> bool:
    """Whether an object of the resource's kind is one that the resource follows.

    Args:
        resource: whose field selector compares text for equality.
        body: as it is stored.
    """
    labels = body["metadata"].get("labels") or {}
    if not selects(parse_selector(resource.label_selector), labels):
        return False
    for comparison in filter(None, resource.field_selector.split(",")):
        path, _, wanted = comparison.partition("=")
        if _field(body, path) != wanted:
            return False
    return True


def _field(body: Mapping[str, Any], path: str) -> str:
    value: Any = body
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""
