"""The units under a systemd that runs: started, told of, killed, hung, stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from booted_systemd import Machine, booted, wait_until_active
from lab_homes import wait_for

# The first test builds the image and a Debian.
pytestmark = [pytest.mark.root, pytest.mark.long, pytest.mark.timeout(1800)]

CONFIGURATION = "/etc/edgemesh/edgemesh.toml"
AGENT, CLOUD = "edgemesh", "edgemesh-cloud"
PATHS_SECONDS = 120.0


@pytest.fixture
def machine() -> Iterator[Machine]:
    with booted() as made:
        yield made


@pytest.fixture
def agent(machine: Machine) -> Machine:
    """A machine whose agent was installed as users do it, and is active."""
    machine.write(CONFIGURATION, 'node = "n1"\n')
    machine.install()
    wait_until_active(machine, AGENT)
    return machine


def pid_here(machine: Machine, unit: str) -> int:
    """Of the main process, as this host numbers it."""
    there = machine.main_pid(unit)
    namespace = Path(f"/proc/{machine.leader}/ns/pid").readlink()
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text, found = status.read_text(), (status.parent / "ns/pid").readlink()
        except OSError:
            continue
        numbers = next(line for line in text.splitlines() if line.startswith("NSpid:")).split()
        if found == namespace and int(numbers[-1]) == there:
            return int(status.parent.name)
    raise AssertionError(f"process {there} of {unit} is not there")


def test_an_agent_of_the_unit_has_every_path(agent: Machine) -> None:
    wait_for(lambda: "every path is available" in agent.journal(AGENT), "every path", PATHS_SECONDS)
    assert agent.shows(AGENT, "StatusText") == "0 Services, 0 open flows"
    assert agent.run("/opt/edgemesh/bin/edgemesh", "doctor").returncode == 0


def test_members_of_the_group_may_look_at_the_agent_and_others_not(agent: Machine) -> None:
    assert agent.output("stat", "-c", "%a %G", "/run/edgemesh").split() == ["750", "edgemesh"]
    socket = agent.output("stat", "-c", "%a %U %G", "/run/edgemesh/meta.sock").split()
    assert socket == ["660", "root", "edgemesh"]
    assert agent.output("stat", "-c", "%a %U", "/var/lib/edgemesh").split() == ["700", "root"]
    look = ["/opt/edgemesh/bin/edgemesh", "status"]
    member = agent.run("setpriv", "--reuid=65534", "--regid=edgemesh", "--clear-groups", *look)
    assert member.returncode == 0, member.stderr
    other = agent.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *look)
    assert other.returncode == 2


def test_an_agent_that_was_killed_is_started_again_after_its_guard_has_ended(
    agent: Machine,
) -> None:
    os.kill(pid_here(agent, AGENT), signal.SIGKILL)
    wait_for(lambda: agent.restarts(AGENT) == 1, "it is started again", 30)
    wait_until_active(agent, AGENT)
    assert "the agent is gone, and calls go as if" in agent.journal(AGENT)


def test_an_agent_comes_back_by_itself_when_its_configuration_is_mended(agent: Machine) -> None:
    agent.write(CONFIGURATION, "nonsense = 1\n")
    assert agent.run("systemctl", "restart", AGENT).returncode != 0
    # By itself systemd gives up after five times.
    wait_for(lambda: agent.restarts(AGENT) >= 6, "it is tried again and again", 120)
    agent.write(CONFIGURATION, 'node = "n1"\n')
    wait_until_active(agent, AGENT, 60)


def test_an_agent_that_hangs_is_ended_by_the_watchdog_where_its_guard_lets_it_hang(
    machine: Machine,
) -> None:
    machine.write(CONFIGURATION, 'node = "n1"\n[netfilter]\nwatchdog_seconds = 0\n')
    machine.install()
    wait_until_active(machine, AGENT)
    began = time.monotonic()
    os.kill(pid_here(machine, AGENT), signal.SIGSTOP)
    wait_for(lambda: machine.restarts(AGENT) == 1, "it is started again", 60)
    print(f"started again {time.monotonic() - began:.0f} s after it was frozen")
    wait_until_active(machine, AGENT)
    assert "Watchdog timeout" in machine.journal(AGENT)


def test_a_stopped_agent_leaves_neither_rules_nor_processes(agent: Machine) -> None:
    assert "table inet edgemesh" in agent.output("nft", "list", "tables")
    agent.output("systemctl", "stop", AGENT)
    assert agent.shows(AGENT, "Result") == "success"
    assert agent.output("nft", "list", "tables") == ""
    assert agent.shows(AGENT, "ControlGroup") == ""


def test_a_cloud_of_the_unit_runs_as_a_user_of_its_own_on_what_root_has_begun(
    machine: Machine,
) -> None:
    machine.write(CONFIGURATION, '[cloud]\nnames = ["127.0.0.1"]\n')
    assert machine.edgemesh("cloud", "token", "--node", "n1")
    machine.install("--cloud")
    wait_until_active(machine, CLOUD)
    owner = machine.output("stat", "-c", "%U", "/var/lib/edgemesh/edgemesh.db").strip()
    assert owner == "edgemesh"
    status = Path(f"/proc/{pid_here(machine, CLOUD)}/status").read_text()
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    # Root goes on beside it.
    assert machine.edgemesh("cloud", "token", "--node", "n2")
    assert machine.shows(CLOUD, "StatusText") == "0 nodes are connected"
