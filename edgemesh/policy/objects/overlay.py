"""One object's word on top of what lies below it."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from edgemesh.wire.kubernetes.parsed import Duration

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ValueT = TypeVar("ValueT", bound="DataclassInstance")


def overlay(base: ValueT, view: Struct) -> ValueT:
    """The base with every field that the view gives.

    Args:
        base: a frozen dataclass of the model.
        view: fields of the same name replace those of the base, unless they are None; others
            are passed over.
    """
    given = {name: getattr(view, name) for name in _shared(type(base), type(view))}
    given = {name: _plain(value) for name, value in given.items() if value is not None}
    return replace(base, **given) if given else base


def _plain(value: Any) -> Any:
    """Seconds as the float that they are: model values may be encoded, and only that can."""
    return float(value) if isinstance(value, Duration) else value


@cache
def _shared(model: type[Any], view: type[Struct]) -> tuple[str, ...]:
    names = {field.name for field in fields(model)}
    return tuple(name for name in view.__struct_fields__ if name in names)
