"""Configuration files and the environment of the processes of a lab."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Settings by the name of their TOML table; "" for those that stand in none.
Tables = Mapping[str, Mapping[str, Any]]


def merged(own: Tables, others: Tables) -> Tables:
    """Tables with further settings, which win."""
    return {name: {**own.get(name, {}), **others.get(name, {})} for name in {**own, **others}}


def write_toml(path: Path, tables: Tables) -> None:
    """Write tables, whose strings, numbers, booleans and arrays are written as in JSON."""
    lines: list[str] = []
    for name in sorted(tables):
        lines += [f"[{name}]"] if name else []
        lines += [
            f"{key} = {json.dumps(value, ensure_ascii=False)}"
            for key, value in tables[name].items()
        ]
    path.write_text("\n".join([*lines, ""]))


def environment() -> dict[str, str]:
    """Ours, without variables of edgemesh: they would win over every file."""
    return {name: value for name, value in os.environ.items() if not name.startswith("EDGEMESH_")}
