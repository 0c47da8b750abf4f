"""Strategic merge patches, as edges send them for their Node and their Pods.

Kubernetes, ``apimachinery/pkg/util/strategicpatch``: objects are merged field by field, null
deletes; of the lists below the items are merged by a key, all other lists are replaced. Fields
whose names begin with ``$`` are directives. A patch that is none is refused, never guessed at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgemesh.wire.message import MessageError

Json = dict[str, Any]

# Lists that are merged, by the key of their items; "" for lists of plain values (core/v1: Node,
# Pod and ObjectMeta).
_MERGED: Final[Mapping[tuple[str, ...], str]] = {
    ("metadata", "finalizers"): "",
    ("metadata", "ownerReferences"): "uid",
    ("spec", "podCIDRs"): "",
    ("status", "addresses"): "type",
    ("status", "conditions"): "type",
    ("status", "hostIPs"): "ip",
    ("status", "podIPs"): "ip",
}

# Far more than any Node or Pod has; merging is quadratic, and recursive.
_MOST_ITEMS = 1000
_MOST_LEVELS = 64

_PATCH = "$patch"
_ORDER = "$setElementOrder/"
_REMOVE = "$deleteFromPrimitiveList/"
_RETAIN = "$retainKeys"


def merge_patch(present: Json, patch: Json) -> Json:
    """Apply a patch.

    Args:
        present: the object; it is not changed.
        patch: as ``answers.read_patch`` returns it.

    Raises:
        MessageError: the patch does not fit the object, or has a directive of no known form.
    """
    return _merge_object(present, patch, ())


def _merge_object(present: Json, patch: Json, path: tuple[str, ...]) -> Json:
    if len(path) > _MOST_LEVELS:
        raise MessageError(f"the patch has more than {_MOST_LEVELS} levels")
    directive = patch.get(_PATCH)
    if directive == "replace":
        return {name: value for name, value in patch.items() if not name.startswith("$")}
    if directive == "delete":
        return {}
    if directive is not None and directive != "merge":
        raise MessageError(f"{_PATCH} {directive!r:.40} at {_named(path)} is not known")
    merged = dict(present)
    for name, value in patch.items():
        if name.startswith("$"):
            continue
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value, (*path, name))
    for name, value in patch.items():
        _direct(merged, name, value, path)
    return merged


def _merge(present: Any, value: Any, path: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return _merge_object(present if isinstance(present, dict) else {}, value, path)
    if isinstance(value, list) and path in _MERGED:
        known = present if isinstance(present, list) else []
        key = _MERGED[path]
        _check_size(value, path)
        return _merge_items(known, value, key, path) if key else _union(known, value)
    return value


def _merge_items(
    present: list[Any], items: list[Any], key: str, path: tuple[str, ...]
) -> list[Any]:
    kept: list[Json] = [] if {_PATCH: "replace"} in items else list(present)
    for item in items:
        if item == {_PATCH: "replace"}:
            continue
        if not isinstance(item, dict) or key not in item:
            raise MessageError(f"an item of {_named(path)} has no {key!r}")
        index = next(
            (number for number, known in enumerate(kept) if _is(known, key, item[key])), None
        )
        if item.get(_PATCH) == "delete":
            if index is not None:
                del kept[index]
        elif index is None:
            kept.append(_merge_object({}, item, path))
        else:
            kept[index] = _merge_object(kept[index], item, path)
    return kept


def _is(item: Any, key: str, value: Any) -> bool:
    return isinstance(item, dict) and item.get(key) == value


def _check_size(items: list[Any], path: tuple[str, ...]) -> None:
    if len(items) > _MOST_ITEMS:
        raise MessageError(f"{_named(path)} has {len(items)} items, allowed are {_MOST_ITEMS}")


def _union(present: list[Any], values: list[Any]) -> list[Any]:
    return [*present, *(value for value in values if value not in present)]


def _direct(merged: Json, name: str, value: Any, path: tuple[str, ...]) -> None:
    """Carry out what a field that begins with ``$`` asks for."""
    if not name.startswith("$") or name == _PATCH:
        return
    if not isinstance(value, list):
        raise MessageError(f"{name!r:.80} at {_named(path)} is no list")
    _check_size(value, (*path, name))
    if name == _RETAIN:
        for other in merged.keys() - set(map(str, value)):
            del merged[other]
        return
    for prefix, change in ((_ORDER, _ordered), (_REMOVE, _without)):
        field = name.removeprefix(prefix)
        if field != name:
            if isinstance(merged.get(field), list):
                merged[field] = change(merged[field], value, _MERGED.get((*path, field), ""))
            return
    raise MessageError(f"{name!r:.80} at {_named(path)} is not known")


def _ordered(items: list[Any], order: list[Any], key: str) -> list[Any]:
    """Items in the order that is asked for; those it does not name keep to the end."""

    def rank(item: Any) -> int:
        wanted = {key: item.get(key)} if key and isinstance(item, dict) else item
        return order.index(wanted) if wanted in order else len(order)

    return sorted(items, key=rank)


def _without(items: list[Any], removed: list[Any], _key: str) -> list[Any]:
    return [item for item in items if item not in removed]


def _named(path: tuple[str, ...]) -> str:
    return ".".join(path)[:200] or "the top"
