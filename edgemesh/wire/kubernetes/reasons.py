"""Why an object does not fit its view, told by field and value.

msgspec names the path but not the value that it refused, and it says what a type is in its own
words. Here the path is followed through the type and through the object at the same time.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import inspect

from edgemesh.wire.kubernetes.fields import FieldError
from edgemesh.wire.quoting import quote

_PLACE = re.compile(r" - at (?P<key>`key` in )?`\$(?P<path>.*)`\Z")
_STEP = re.compile(r"\.(?P<field>\w+)|\[(?P<index>\d+)\]|\[\.\.\.\]")
_MISSING = re.compile(r"Object missing required field `(?P<field>\w+)`")
_WORDS: dict[type[inspect.Type], str] = {
    inspect.IntType: "an integer",
    inspect.StrType: "a string",
    inspect.BoolType: "true or false",
    inspect.StructType: "a mapping",
    inspect.DictType: "a mapping",
    inspect.VarTupleType: "a list",
}


def explain(message: str, body: Any, view: Any, where: str = "") -> FieldError:
    """The error of msgspec in words that name the field and the offending value.

    Args:
        message: of the ValidationError.
        body: what was converted.
        view: the type that it was converted to.
        where: it stands.
    """
    place = _PLACE.search(message)
    path = place["path"] if place else ""
    field, value, kind = _follow(path, body, inspect.type_info(view), where)
    missing = _MISSING.match(message)
    if missing:
        return FieldError(_join(field, missing["field"]), "required, but missing")
    if place and place["key"]:
        key = next(key for key in value if not isinstance(key, str))
        return FieldError(field, f"expected keys that are strings, got {quote(key)}")
    return FieldError(field, f"expected {describe(kind)}, got {quote(value)}")


def _follow(path: str, value: Any, kind: inspect.Type, field: str) -> tuple[str, Any, inspect.Type]:
    """Where a path of msgspec leads: the field in our spelling, its value, its type."""
    for step in _STEP.finditer(path):
        kind = _container(kind)
        if isinstance(kind, inspect.StructType):
            name = step["field"]
            field = _join(field, name)
            value = value[name]
            kind = next(item.type for item in kind.fields if item.encode_name == name)
        elif isinstance(kind, inspect.VarTupleType):
            field += step[0]
            value = value[int(step["index"])]
            kind = kind.item_type
        else:
            # msgspec does not tell the key; all typed maps of the views are of strings.
            key, value = next(item for item in value.items() if not isinstance(item[1], str))
            field += f"[{quote(key)}]"
            kind = inspect.StrType()
    return field, value, kind


def _join(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _container(kind: inspect.Type) -> inspect.Type:
    """The mapping or list that a path goes on in; unions with one also allow null."""
    return _alternatives(kind)[0]


def _alternatives(kind: inspect.Type) -> list[inspect.Type]:
    """What may stand there, without null, which counts as absent."""
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return [item for item in kinds if not isinstance(item, inspect.NoneType)]


def describe(kind: inspect.Type) -> str:
    """What a value has to be, "an integer"."""
    if isinstance(kind, inspect.CustomType):
        return str(vars(kind.cls)["description"])
    if isinstance(kind, inspect.EnumType):
        return "one of " + ", ".join(str(member.value) for member in kind.cls)
    if isinstance(kind, inspect.UnionType):
        return " or ".join(map(describe, _alternatives(kind)))
    if isinstance(kind, inspect.Metadata):
        return str((kind.extra_json_schema or {})["description"])
    if isinstance(kind, inspect.LiteralType):
        return "one of " + ", ".join(str(value) or '""' for value in kind.values)
    return _WORDS[type(kind)]
