"""Rules of the house that no linter knows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("edgemesh", "tests") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_a_blanket_except_stands_at_the_connection_boundary_only() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.is_relative_to(ROOT / "edgemesh")
        and re.search(r"^\s*except (Exception|BaseException)\b", path.read_text(), re.MULTILINE)
    ]
    assert set(found) <= {"edgemesh/reactor/reactor.py"}


def test_what_is_compiled_is_there() -> None:
    for pattern in _compilation()["include"]:
        assert list(ROOT.glob(pattern)), pattern


def test_nothing_is_compiled_whose_fields_are_final() -> None:
    """mypyc makes them read-only for the __init__ that dataclasses write."""
    hook = _compilation()
    compiled = {path for pattern in hook["include"] for path in ROOT.glob(pattern)}
    compiled -= {ROOT / name for name in hook["exclude"]}
    refused = re.compile(r"^@dataclass\(.*frozen=True|^    \w+: Final\[", re.MULTILINE)
    assert [str(path) for path in compiled if refused.search(path.read_text())] == []


def _compilation() -> dict[str, list[str]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    hooks: dict[str, dict[str, list[str]]] = settings["tool"]["hatch"]["build"]["targets"]["wheel"][
        "hooks"
    ]
    return hooks["mypyc"]
