"""An agent that stops, or leaves a Service: what has begun goes on, what is new passes by."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from interception_lab import PORT, SERVICE, call, state_of
from lab_homes import wait_for
from mesh import Mesh, web, web_and_bystander, who_answers
from mesh_servers import first_line

from edgemesh.model.objects import ObjectKey

pytestmark = pytest.mark.root

VERSIONS = (4, 6)
WAYS = [("nft", "tproxy"), ("nft", "redirect"), ("iptables", "tproxy"), ("iptables", "redirect")]
CONNECTIONS = 50
REQUESTS = 20


@pytest.fixture
def before(mesh: Mesh) -> Iterator[str]:
    """Servers, see `web_and_bystander`; the state of the node before an agent ever ran."""
    with web_and_bystander(mesh):
        yield state_of(mesh.network.node)


@pytest.mark.parametrize(("backend", "mode"), WAYS)
def test_a_stopped_agent_leaves_the_node_exactly_as_it_was(
    mesh: Mesh, before: str, backend: str, mode: str
) -> None:
    mesh.start(netfilter={"backend": backend, "mode": mode})
    mesh.apply(*web())
    assert who_answers(mesh.network.pod) == "endpoint"
    assert state_of(mesh.network.node) != before
    mesh.stop()
    assert state_of(mesh.network.node) == before


def test_an_agent_that_is_stopped_while_it_starts_leaves_the_node_exactly_as_it_was(
    mesh: Mesh, before: str
) -> None:
    mesh.begin()
    wait_for(mesh.socket.exists, "the agent can be asked, but does not serve yet")
    mesh.stop()
    assert state_of(mesh.network.node) == before


@pytest.mark.parametrize(("backend", "mode"), WAYS)
def test_while_an_agent_drains_new_calls_pass_by_and_those_that_have_begun_go_on(
    mesh: Mesh, before: str, backend: str, mode: str
) -> None:
    mesh.start(netfilter={"backend": backend, "mode": mode})
    mesh.apply(*web())
    callers = (mesh.network.pod, mesh.network.node)
    with ExitStack() as opened:
        begun = [
            opened.enter_context(closing(call(caller, SERVICE[version], PORT)))
            for caller in callers
            for version in VERSIONS
        ]
        for connection in begun:
            assert first_line(connection).startswith("endpoint")
        os.kill(mesh.agent.pid, signal.SIGTERM)
        wait_for(lambda: '"event":"draining"' in mesh.log, "the agent drains")
        for caller in callers:
            for version in VERSIONS:
                wait_for(lambda c=caller, v=version: passes(c, v), "a new call passes by")
        for connection in begun:
            assert exchange(connection, b"still there?") == b"still there?"
        assert mesh.agent.alive
    assert mesh.exit_status() == 0
    assert state_of(mesh.network.node) == before


@pytest.mark.parametrize(("backend", "mode"), WAYS)
def test_when_a_service_is_deleted_new_calls_pass_by_and_those_that_have_begun_go_on(
    mesh: Mesh, before: str, backend: str, mode: str
) -> None:
    mesh.start(netfilter={"backend": backend, "mode": mode})
    mesh.apply(*web())
    callers = [(c, v) for c in (mesh.network.pod, mesh.network.node) for v in VERSIONS]
    with ExitStack() as opened:
        begun = [
            opened.enter_context(closing(call(caller, SERVICE[version], PORT)))
            for caller, version in callers
        ]
        for connection in begun:
            assert first_line(connection).startswith("endpoint")
        mesh.delete(ObjectKey("Service", "default", "web"))
        for caller, version in callers:
            wait_for(lambda c=caller, v=version: passes(c, v), "a new call passes by")
        for connection in begun:
            assert exchange(connection, b"still there?") == b"still there?"


def passes(caller: str, version: int) -> bool:
    try:
        return who_answers(caller, version) == "bystander"
    except ConnectionError:
        return False


def test_no_request_of_a_connection_fails_while_the_agent_drains(mesh: Mesh, before: str) -> None:
    mesh.start()
    mesh.apply(*web())
    with ExitStack() as opened:
        connections = [
            opened.enter_context(closing(call(mesh.network.pod, SERVICE[4], PORT)))
            for _ in range(CONNECTIONS)
        ]
        for connection in connections:
            first_line(connection)
        for round_number in range(REQUESTS):
            if round_number == 1:
                os.kill(mesh.agent.pid, signal.SIGTERM)
            for connection in connections:
                connection.sendall(b"request %d" % round_number)
            for connection in connections:
                assert connection.recv(64) == b"request %d" % round_number
        assert mesh.agent.alive
    assert mesh.exit_status() == 0
    assert [flow.ending for flow in mesh.flows()] == ["closed"] * CONNECTIONS


def test_connections_that_do_not_end_are_cut_after_the_grace(mesh: Mesh, before: str) -> None:
    mesh.start(proxy={"drain_grace_seconds": 0.5})
    mesh.apply(*web())
    with closing(call(mesh.network.pod, SERVICE[4], PORT)) as connection:
        first_line(connection)
        mesh.stop()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert [flow.ending for flow in mesh.flows()] == ["drain"]


def exchange(connection: socket.socket, words: bytes) -> bytes:
    connection.sendall(words)
    return connection.recv(len(words))
