"""From JSON values to a type, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from edgemesh.wire.kubernetes.parsed import parse_field
from edgemesh.wire.kubernetes.reasons import explain

# Deeper than any field of a view, shallower than any stack.
_VIEW_DEPTH = 24


def convert(value: Any, kind: Any, path: str = "") -> Any:
    """A value of this type; a field that is null counts as absent, as in the Kubernetes API.

    Args:
        value: JSON values.
        kind: a View, or any type that a field of one may have.
        path: where the value stands in its object.

    Raises:
        FieldError: naming the first field that is wrong, and its value.
    """
    try:
        return msgspec.convert(value, kind, dec_hook=parse_field)
    except msgspec.ValidationError:
        # Nulls are rare, so they are taken out only where they may be the reason.
        plain = _without_nulls(value, _VIEW_DEPTH)
    try:
        return msgspec.convert(plain, kind, dec_hook=parse_field)
    except msgspec.ValidationError as error:
        raise explain(str(error), plain, kind, path) from None


def _without_nulls(value: Any, depth: int) -> Any:
    if depth and isinstance(value, Mapping):
        return {
            key: _without_nulls(item, depth - 1) for key, item in value.items() if item is not None
        }
    if depth and isinstance(value, list):
        return [_without_nulls(item, depth - 1) for item in value]
    return value
