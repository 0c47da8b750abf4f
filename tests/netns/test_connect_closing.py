"""Connections that the kernel balanced end with their endpoint, where policies ask for it."""

from __future__ import annotations

import socket

import pytest
from connect_agent import running_agent
from connect_lab import PATIENCE_SECONDS, ConnectLab, Socket

from edgemesh.model.policies import EndpointRemoval, Policy

pytestmark = pytest.mark.root

CLOSE = Policy(on_endpoint_removed=EndpointRemoval.CLOSE)


def connected(lab: ConnectLab, server: Socket, version: int = 4) -> tuple[Socket, Socket]:
    """A caller of the Service, and what the server got."""
    caller = lab.call(version)
    accepted = lab.opened.enter_context(server.accept()[0])
    accepted.settimeout(PATIENCE_SECONDS)
    return caller, accepted


@pytest.mark.parametrize("version", [4, 6])
async def test_both_sides_are_reset(connect_lab: ConnectLab, version: int) -> None:
    server = connect_lab.server(version)
    async with running_agent(connect_lab, [server], policy=CLOSE) as agent:
        caller, accepted = connected(connect_lab, server, version)
        agent.serve([], policy=CLOSE)
        await agent.until(lambda: not is_open(caller))
        with pytest.raises(ConnectionResetError):
            accepted.recv(1)


def is_open(caller: Socket) -> bool:
    """Whether the kernel has not ended it, as its SO_ERROR or its state tells."""
    return caller.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and state(caller) != 7


def state(caller: Socket) -> int:
    """tcpi_state; 7 is TCP_CLOSE."""
    return caller.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


async def test_a_call_that_its_own_kernel_has_ended_fails_with_a_word(
    connect_lab: ConnectLab,
) -> None:
    server = connect_lab.server()
    async with running_agent(connect_lab, [server], policy=CLOSE) as agent:
        caller, _ = connected(connect_lab, server)
        agent.serve([], policy=CLOSE)
        await agent.until(lambda: state(caller) == 7)
        with pytest.raises(ConnectionAbortedError):
            caller.recv(1)


async def test_connections_to_endpoints_that_stay_and_those_without_a_service_go_on(
    connect_lab: ConnectLab,
) -> None:
    servers = [connect_lab.server() for _ in range(2)]
    async with running_agent(connect_lab, servers, policy=CLOSE) as agent:
        pairs = [connected(connect_lab, server) for server in servers]
        direct = connect_lab.caller()
        direct.connect(servers[0].getsockname())
        pairs.append((direct, connect_lab.opened.enter_context(servers[0].accept()[0])))
        agent.serve(servers[1:], policy=CLOSE)
        gone, *stay = pairs
        await agent.until(lambda: not is_open(gone[0]))
        for caller, accepted in stay:
            caller.sendall(b"still here")
            assert accepted.recv(100) == b"still here"


async def test_without_such_a_policy_they_go_on(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server() for _ in range(2)]
    async with running_agent(connect_lab) as agent:
        agent.serve(servers[:1])
        agent.serve(servers[1:], name="other", addresses=["10.96.0.99"], policy=CLOSE)
        await agent.balances(2)
        caller, accepted = connected(connect_lab, servers[0])
        other = connect_lab.caller()
        other.connect(("10.96.0.99", 80))
        agent.serve([])
        agent.serve([], name="other", addresses=["10.96.0.99"], policy=CLOSE)
        await agent.until(lambda: not is_open(other))
        caller.sendall(b"still here")
        assert accepted.recv(100) == b"still here"


async def test_an_end_that_was_asked_for_is_no_failure_of_the_endpoint(
    connect_lab: ConnectLab,
) -> None:
    server = connect_lab.server()
    async with running_agent(connect_lab, [server], policy=CLOSE) as agent:
        caller, _ = connected(connect_lab, server)
        await agent.until(lambda: agent.meter(server).connections)
        agent.serve([], policy=CLOSE)
        await agent.until(lambda: not is_open(caller))
        await agent.until(lambda: agent.plane.reports.endings["closed"])
        assert agent.meter(server).resets == 0


def test_a_socket_is_told_once_and_destroyed_once(connect_lab: ConnectLab) -> None:
    # Those of tests before have the same numbers.
    connect_lab.wait_until_over()
    server = connect_lab.server()
    port = connect_lab.put([server])
    connect_lab.call()
    numbers = [endpoint.id for endpoint in port.four]
    assert connect_lab.maps.destroy_connections(numbers) == 1
    assert connect_lab.maps.destroy_connections(numbers) == 0
