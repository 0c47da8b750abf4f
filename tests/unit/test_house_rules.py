"""Rules of the house that no linter knows."""

from __future__ import annotations

import re
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
    assert set(found) <= {"edgemesh/proxy/reactor.py"}
