"""The functions of Go, sprig and Helm that the chart uses, with their behaviour there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from edgemesh.deploy.gotemplate.nodes import TemplateError
from edgemesh.model.errors import OperatorError


def is_true(value: Any) -> bool:
    """Go's truth: nothing, zero and what is empty are false."""
    return bool(value)


def as_json(value: Any) -> str:
    """Helm's toJson. Numbers of values are Go's float64, which are written without a fraction."""
    text = json.dumps(_whole(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # encoding/json keeps what it writes from being taken for HTML.
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def as_yaml(value: Any) -> str:
    """Helm's toYaml, as far as what it means goes."""
    return (
        yaml.safe_dump(_whole(value), sort_keys=True, allow_unicode=True)
        .removesuffix("\n...\n")
        .rstrip("\n")
    )


def _whole(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _indented(count: int, text: str) -> str:
    return "\n".join(" " * count + line for line in text.split("\n"))


def _either(*values: Any) -> Any:
    return next((value for value in values if is_true(value)), values[-1])


def _all(*values: Any) -> Any:
    return next((value for value in values if not is_true(value)), values[-1])


def _required(message: str, value: Any) -> Any:
    if value is None or value == "":
        raise OperatorError(message)
    return value


def _fail(message: str) -> str:
    raise OperatorError(message)


def _quoted(value: Any) -> str:
    if not isinstance(value, str):
        raise TemplateError(f"quote: {value!r} is no string")
    # YAML takes what is not printable by its number only.
    return "".join(map(_escaped, json.dumps(value, ensure_ascii=False)))


def _escaped(sign: str) -> str:
    if sign.isprintable():
        return sign
    number = ord(sign)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "add": lambda *values: sum(map(int, values)),
    "and": _all,
    "contains": lambda part, text: part in text,
    "default": lambda fallback, value: value if is_true(value) else fallback,
    "eq": lambda first, *others: first in others,
    "fail": _fail,
    "gt": lambda first, second: first > second,
    "int": int,
    "list": lambda *values: list(values),
    "ne": lambda first, second: first != second,
    "nindent": lambda count, text: "\n" + _indented(count, text),
    "not": lambda value: not is_true(value),
    "or": _either,
    "quote": _quoted,
    "required": _required,
    "sha256sum": lambda text: hashlib.sha256(text.encode()).hexdigest(),
    "toJson": as_json,
    "toYaml": as_yaml,
    "trim": str.strip,
}
