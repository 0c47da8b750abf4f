"""What tests of whole benches share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.remains import temporary_directory


@pytest.fixture
def directory() -> Iterator[Path]:
    """A path of pytest's is too long for a socket to lie in."""
    with temporary_directory() as name:
        yield Path(name)
