"""An agent that ends without a word: killed, hung, again and again."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from interception_lab import PATIENCE_SECONDS, PORT, SERVER, SERVICE, call, output, state_of
from lab_homes import pids_in, wait_for
from mesh import Mesh, rules_and_routes, web, web_and_bystander, who_answers
from mesh_servers import TcpServer

pytestmark = pytest.mark.root

VERSIONS = (4, 6)
WAYS = [("nft", "tproxy"), ("nft", "redirect"), ("iptables", "tproxy"), ("iptables", "redirect")]
# For a call that nobody is to answer: some rules drop it, and it would wait.
VAIN_SECONDS = 1.0
# An agent takes two seconds to start where nobody else has work for the processors.
AGAIN_SECONDS = 30


@pytest.fixture
def bystander(mesh: Mesh) -> Iterator[str]:
    """Servers, see `web_and_bystander`; the state of the node before an agent ever ran."""
    with web_and_bystander(mesh):
        yield state_of(mesh.network.node)


def answers(mesh: Mesh, caller: str, version: int, timeout: float = PATIENCE_SECONDS) -> str:
    with suppress(OSError):
        return who_answers(getattr(mesh.network, caller), version, timeout)
    return "nobody"


def all_answer(mesh: Mesh, name: str) -> bool:
    return all(
        answers(mesh, caller, version) == name for caller in ("pod", "node") for version in VERSIONS
    )


@pytest.mark.parametrize(("backend", "mode"), WAYS)
def test_a_killed_agent_leaves_nothing_and_calls_go_as_if_it_had_never_been_there(
    mesh: Mesh, bystander: str, backend: str, mode: str
) -> None:
    mesh.start(netfilter={"backend": backend, "mode": mode})
    mesh.apply(*web())
    assert all_answer(mesh, "endpoint")
    with closing(call(mesh.network.pod, SERVICE[4])):
        mesh.kill()
    wait_for(lambda: all_answer(mesh, "bystander"), "the bystander answers")
    wait_for(lambda: state_of(mesh.network.node) == bystander, "nothing is left")


def test_a_watchdog_that_ends_agent_and_guard_at_once_leaves_nothing(
    mesh: Mesh, bystander: str
) -> None:
    mesh.start(netfilter={"backend": "iptables"})
    mesh.apply(*web())
    for pid in pids_in(mesh.network.node):
        # The guard of an agent that was first may have ended, too.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGABRT)
    assert mesh.exit_status() == -signal.SIGABRT
    wait_for(lambda: state_of(mesh.network.node) == bystander, "nothing is left")


def test_rules_that_the_process_owns_are_gone_with_it(mesh: Mesh, bystander: str) -> None:
    mesh.start()
    mesh.apply(*web())
    mesh.kill()
    assert "edgemesh" not in output(mesh.network.node, ["nft", "list", "ruleset"])
    assert all(answers(mesh, "pod", version) == "bystander" for version in VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_proxied_connections_of_a_killed_agent_are_reset_at_both_ends(
    mesh: Mesh, version: int
) -> None:
    endings: list[str] = []
    ended = threading.Event()

    def greet_and_wait(connection: socket.socket) -> None:
        connection.sendall(b"welcome")
        endings.append(ending_of(connection))
        ended.set()

    mesh.start()
    mesh.apply(*web())
    with (
        TcpServer(mesh.network.server, (SERVER[version], 8080), greet_and_wait),
        closing(call(mesh.network.pod, SERVICE[version], PORT)) as connection,
    ):
        assert connection.recv(7) == b"welcome"
        mesh.kill()
        # An end of the stream would tell that the other side has no more to say.
        assert ending_of(connection) == "reset"
        assert ended.wait(PATIENCE_SECONDS)
    assert endings == ["reset"]


def ending_of(connection: socket.socket) -> str:
    try:
        connection.recv(1)
    except ConnectionResetError:
        return "reset"
    return "end of stream"


def test_an_agent_that_is_started_again_serves_again(mesh: Mesh, bystander: str) -> None:
    mesh.start()
    mesh.apply(*web())
    mesh.kill()
    began = time.monotonic()
    mesh.start()
    assert all_answer(mesh, "endpoint")
    seconds = time.monotonic() - began
    print(f"served again after {seconds:.2f} s")
    assert seconds < AGAIN_SECONDS


def test_ten_kills_leave_no_rule_route_or_address_twice(mesh: Mesh, bystander: str) -> None:
    settings = {"backend": "iptables"}
    mesh.start(netfilter=settings)
    mesh.apply(*web())
    once = rules_and_routes(mesh)
    for number in range(10):
        if number % 2:
            kill_guard(mesh)
        mesh.kill()
        mesh.start(netfilter=settings)
    assert rules_and_routes(mesh) == once
    mesh.stop()
    assert state_of(mesh.network.node) == bystander


def kill_guard(mesh: Mesh) -> None:
    """Let the agent's remains be nobody's but the next agent's."""

    def others() -> list[int]:
        return [pid for pid in pids_in(mesh.network.node) if pid != mesh.agent.pid]

    # What an agent runs to look at its rules is there for moments.
    wait_for(lambda: len(others()) == 1, "the guard is alone with its agent")
    (guard,) = others()
    os.kill(guard, signal.SIGKILL)
    wait_for(lambda: not is_running(guard), "the guard is gone")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_agent_whose_guard_is_killed_goes_on(mesh: Mesh, bystander: str) -> None:
    mesh.start()
    mesh.apply(*web())
    kill_guard(mesh)
    wait_for(lambda: "the guard has ended" in mesh.log, "the agent misses its guard")
    assert all_answer(mesh, "endpoint")
    mesh.stop()
    assert state_of(mesh.network.node) == bystander


@pytest.mark.parametrize("backend", ["nft", "iptables"])
def test_an_agent_that_hangs_is_killed_and_calls_go_on_without_it(
    mesh: Mesh, bystander: str, backend: str
) -> None:
    mesh.start(netfilter={"backend": backend, "watchdog_seconds": 4})
    mesh.apply(*web())
    os.kill(mesh.agent.pid, signal.SIGSTOP)
    wait_for(lambda: all_answer(mesh, "bystander"), "the bystander answers")
    assert mesh.exit_status() == -signal.SIGKILL
    wait_for(lambda: state_of(mesh.network.node) == bystander, "nothing is left")
    assert "the agent hung and was killed" in mesh.log


@pytest.mark.parametrize(("backend", "mode"), WAYS)
def test_in_fail_mode_closed_calls_never_pass_by_a_killed_agent(
    mesh: Mesh, bystander: str, backend: str, mode: str
) -> None:
    mesh.start(netfilter={"backend": backend, "mode": mode, "fail": "closed"})
    mesh.apply(*web())
    assert all_answer(mesh, "endpoint")
    mesh.kill()
    assert pids_in(mesh.network.node) == []
    for version in VERSIONS:
        assert answers(mesh, "pod", version, VAIN_SECONDS) == "nobody"
        assert answers(mesh, "node", version, VAIN_SECONDS) == "nobody"
    mesh.start(netfilter={"backend": backend, "mode": mode, "fail": "closed"})
    assert all_answer(mesh, "endpoint")
