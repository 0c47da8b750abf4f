"""MIGRATION.md says of each key that is taken what it becomes, and its commands are ours."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import pytest
from edgemesh_agent_config import COMPLETE

from edgemesh.cli.main import app
from edgemesh.deploy.edgemesh_agent import import_agent
from edgemesh.deploy.edgemesh_keys import Fate

TEXT = (Path(__file__).parents[2] / "MIGRATION.md").read_text()
ROWS = [line for line in TEXT.splitlines() if line.startswith("| `")]
SHOWN = re.findall(r"^    (edgemesh (?:[^\n]*\\\n)*[^\n]*)$", TEXT, re.MULTILINE)


def test_every_key_that_is_taken_has_its_row() -> None:
    taken = import_agent(COMPLETE.encode(), "complete").keys
    for judged in taken:
        for setting in judged.outcome.settings:
            assert judged.outcome.fate is Fate.TAKEN
            assert any(f"`{judged.key}`" in row and f"`{setting}" in row for row in ROWS), judged


@pytest.mark.parametrize("command", SHOWN)
def test_a_command_that_is_shown_is_understood(command: str) -> None:
    words = shlex.split(command.replace("\\\n", " "), comments=True)[1:]
    ours = itertools.takewhile(lambda word: word not in {"|", ">"}, words)
    app.parse_args(list(ours), print_error=False, exit_on_error=False)


def test_commands_are_shown() -> None:
    assert len(SHOWN) > 5
