"""Configurations become Settings, or are refused by the name of the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemesh.model.configuration import read_settings
from edgemesh.model.errors import OperatorError


def test_a_directory_is_written_as_text() -> None:
    assert read_settings({"state_dir": "/srv/mesh"}, "here").state_dir == Path("/srv/mesh")


def test_a_number_is_no_directory() -> None:
    with pytest.raises(OperatorError, match="state_dir = 5: expected `path`"):
        read_settings({"state_dir": 5}, "here")
