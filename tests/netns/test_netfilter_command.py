"""``edgemesh netfilter`` as an operator types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from interception_lab import output, state_of

from edgemesh.lab.network import command_in

pytestmark = pytest.mark.root


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "edgemesh.toml"
    # By default BPF balances the calls of all processes of the host.
    path.write_text(f'run_dir = "{tmp_path}"\nstate_dir = "{tmp_path}"\n[bpf]\nenabled = false\n')
    return path


def edgemesh(
    node: str, config: Path, *words: str, status: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command_in(
            node,
            [
                sys.executable,
                "-m",
                "edgemesh.cli.main",
                "netfilter",
                *words,
                "--config",
                str(config),
            ],
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("backend", ["nft", "iptables"])
def test_what_install_puts_there_is_shown_and_remove_takes_it_away(
    lone_node: str, config: Path, backend: str
) -> None:
    before = state_of(lone_node)
    flags = ("--backend", backend, "--mode", "redirect", "--family", "ipv4")
    told = edgemesh(lone_node, config, "install", *flags).stdout
    assert "stays until removed, 0 addresses" in told
    assert "no agent answers" in told
    installed = state_of(lone_node)
    edgemesh(lone_node, config, "install", *flags)
    assert state_of(lone_node) == installed
    (shown,) = json.loads(edgemesh(lone_node, config, "show", "--json").stdout)
    facts = {key: shown[key] for key in ("backend", "mode", "family", "owned", "addresses")}
    assert facts == {
        "backend": backend,
        "mode": "redirect",
        "family": "ipv4",
        "owned": False,
        "addresses": 0,
    }
    assert edgemesh(lone_node, config, "remove").stdout == f"removed: {backend}\n"
    assert state_of(lone_node) == before
    assert edgemesh(lone_node, config, "remove").stdout == "nothing was installed\n"
    assert edgemesh(lone_node, config, "show").stdout == "nothing is installed\n"


def test_show_prints_the_rules_as_the_kernel_has_them(lone_node: str, config: Path) -> None:
    edgemesh(lone_node, config, "install")
    shown = edgemesh(lone_node, config, "show").stdout
    assert "nft tproxy, both, fail open" in shown
    assert "marks 0x45 diverted, 0x46 the agent's own, mask 0xff; route table 4500" in shown
    assert "chain prerouting {" in shown


def test_check_fails_only_for_what_prevents_interception(lone_node: str, config: Path) -> None:
    findings = json.loads(edgemesh(lone_node, config, "check", "--json").stdout)
    assert {finding["state"] for finding in findings} <= {"ok", "warning"}
    output(lone_node, ["ip", "link", "set", "lo", "down"])
    told = edgemesh(lone_node, config, "check", status=1).stdout
    assert "MISSING" in told
    assert "-> ip link set lo up" in told


def test_a_setting_that_cannot_be_used_is_one_line_and_exit_code_2(
    lone_node: str, config: Path
) -> None:
    config.write_text(config.read_text() + "[netfilter]\nown_mark = 0x45\n")
    for command in ("install", "remove", "show"):
        told = edgemesh(lone_node, config, command, status=2).stderr
        assert told == "edgemesh: netfilter: divert_mark and own_mark are both 0x45\n"


def test_beside_a_running_agent_install_leaves_its_rules_alone_and_says_so(
    lone_node: str, config: Path
) -> None:
    agent = subprocess.Popen(
        command_in(
            lone_node, [sys.executable, "-m", "edgemesh.cli.main", "run", "--config", str(config)]
        ),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert agent.stderr is not None
    with agent:
        try:
            while '"event":"ready"' not in agent.stderr.readline():
                assert agent.poll() is None
            owned = output(lone_node, ["nft", "list", "ruleset"])
            told = edgemesh(lone_node, config, "install", status=2).stderr
            assert f"the running agent (pid {agent.pid}) keeps its own rules" in told
            told = edgemesh(lone_node, config, "remove", status=2).stderr
            assert "belongs to a running agent" in told
            assert output(lone_node, ["nft", "list", "ruleset"]) == owned
        finally:
            agent.terminate()
