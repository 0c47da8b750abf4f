"""From the keys and values of a configuration to Settings."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import Settings


def read_settings(values: Mapping[str, Any], where: str) -> Settings:
    """Check names, types and limits.

    Args:
        values: shaped like the TOML file; numbers and truth may be given as text.
        where: that they come from, for messages.

    Raises:
        OperatorError: naming ``where``, the key and the value.
    """
    _refuse_unknown(values, Settings, "", where)
    try:
        return msgspec.convert(values, Settings, strict=False, dec_hook=_from_text)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$.")
        key = path.rstrip("`") or "?"
        value: Any = values
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        raise OperatorError(f"config {where}: {key} = {value!r}: {problem.lower()}") from error


def _from_text(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    # msgspec adds where it stands, to this kind of error only.
    raise ValueError(f"Expected `{kind.__name__}`")


def _refuse_unknown(values: Mapping[str, Any], kind: type, prefix: str, where: str) -> None:
    hints = typing.get_type_hints(kind)
    for key, value in values.items():
        if key not in hints:
            known = ", ".join(sorted(hints))
            raise OperatorError(f"config {where}: unknown key {prefix}{key}", f"known: {known}")
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, Mapping):
                raise OperatorError(f"config {where}: {prefix}{key} must be a table")
            _refuse_unknown(value, typing.cast("type", hints[key]), f"{prefix}{key}.", where)
