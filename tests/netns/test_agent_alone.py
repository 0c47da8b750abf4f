"""Where one agent runs already, a second refuses, and the first does not notice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mesh import Mesh, rules_and_routes, web, web_and_bystander, who_answers

from edgemesh.lab.network import command_in

pytestmark = pytest.mark.root


@pytest.fixture(params=["nft", "iptables"])
def first(mesh: Mesh, request: pytest.FixtureRequest) -> Iterator[Mesh]:
    """An agent that serves."""
    with web_and_bystander(mesh):
        mesh.start(netfilter={"backend": request.param})
        mesh.apply(*web())
        yield mesh


def start_another(mesh: Mesh, config: Path) -> str:
    """What it says; it must refuse."""
    argv = [sys.executable, "-m", "edgemesh.cli.main", "run", "--config", str(config)]
    done = subprocess.run(
        command_in(mesh.network.node, argv), capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    return line


def test_a_second_agent_with_the_same_directories_refuses_in_one_line(first: Mesh) -> None:
    before = rules_and_routes(first)
    said = start_another(first, first.config)
    assert "another edgemesh agent runs with it" in said
    assert rules_and_routes(first) == before
    assert who_answers(first.network.pod) == "endpoint"


@pytest.mark.parametrize(
    ("more", "taken"),
    [
        ("", "admin.listen: 127.0.0.1 port 15020: Address already in use"),
        ("[admin]\nenabled = false\n", "cannot listen on tcp 15001"),
    ],
    ids=["admin server", "listeners"],
)
def test_a_second_agent_in_the_same_namespace_refuses_in_one_line(
    first: Mesh, more: str, taken: str
) -> None:
    before = rules_and_routes(first)
    config = first.directory / "other.toml"
    text = first.config.read_text()
    for directory in ("state", "run"):
        text = text.replace(f'{first.directory}/{directory}"', f'{first.directory}/{directory}2"')
    config.write_text(f"{text}\n{more}")
    said = start_another(first, config)
    assert taken in said
    assert rules_and_routes(first) == before
    assert who_answers(first.network.pod) == "endpoint"
