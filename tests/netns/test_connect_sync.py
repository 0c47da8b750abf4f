"""Calls are balanced in the kernel as the agent's snapshot and breakers say."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import pytest
import trio
from connect_agent import endpoint_of, running_agent
from connect_lab import PORT, SERVICE, UDP, ConnectLab, accepted, loaded_programs

from edgemesh.model.policies import Limits, Policy
from edgemesh.model.services import Endpoint, Transport

pytestmark = pytest.mark.root


async def test_calls_are_balanced_as_soon_as_it_has_started(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server() for _ in range(3)]
    async with running_agent(connect_lab, servers):
        for _ in range(6):
            connect_lab.call().close()
        assert accepted(servers, 6) == [2, 2, 2]


async def test_a_caller_sees_the_address_that_it_called(connect_lab: ConnectLab) -> None:
    async with running_agent(connect_lab, [connect_lab.server()]):
        assert connect_lab.call().getpeername() == (SERVICE[4], PORT)


async def test_each_family_goes_to_its_own_endpoints(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server(4), connect_lab.server(6)]
    async with running_agent(connect_lab, servers) as agent:
        assert [agent.called(servers, 4), agent.called(servers, 6)] == [0, 1]


async def test_an_address_without_endpoints_of_its_family_is_left_alone(
    connect_lab: ConnectLab,
) -> None:
    servers = [connect_lab.server(4)]
    async with running_agent(connect_lab, servers) as agent:
        assert agent.called(servers, 4) == 0
        assert agent.is_left_alone(6)


async def test_a_new_snapshot_counts_for_the_calls_that_follow(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server() for _ in range(2)]
    async with running_agent(connect_lab, servers[:1]) as agent:
        agent.serve(servers[1:])
        await agent.until(lambda: agent.called(servers) == 1)


async def test_a_service_that_is_gone_is_left_alone(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server()]
    async with running_agent(connect_lab, servers) as agent:
        assert agent.called(servers) == 0
        agent.drop()
        await agent.until(agent.is_left_alone)
        assert agent.sync.ports == 0


async def test_a_port_that_is_not_to_be_balanced_here_is_left_alone(
    connect_lab: ConnectLab,
) -> None:
    servers = [connect_lab.server()]
    async with running_agent(connect_lab, servers) as agent:
        agent.balanced = lambda port: not port.policy.limits.max_requests
        agent.serve(servers, policy=Policy(limits=Limits(max_requests=1)))
        await agent.until(agent.is_left_alone)
        agent.serve(servers)
        await agent.until(lambda: not agent.is_left_alone())
        accepted(servers, 1)
        assert agent.called(servers) == 0


async def test_a_service_without_endpoints_refuses(connect_lab: ConnectLab) -> None:
    async with running_agent(connect_lab, ()):
        with pytest.raises(ConnectionRefusedError):
            connect_lab.call()


async def test_an_address_goes_over_to_another_service(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server() for _ in range(2)]
    async with running_agent(connect_lab) as agent:
        agent.serve(servers[:1], name="a")
        agent.serve(servers[1:], name="b")
        await agent.balances(1)
        assert agent.called(servers) == 0
        agent.drop("a")
        await agent.until(lambda: not agent.is_left_alone() and accepted(servers, 1) == [0, 1])
        assert agent.called(servers) == 1


async def test_an_address_that_changes_hands_is_never_without(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server() for _ in range(2)]
    async with running_agent(connect_lab) as agent:
        agent.serve(servers[1:], name="b")
        await agent.until(lambda: not agent.is_left_alone())
        for name in ("a", "b") * 5:
            if name == "a":
                agent.serve(servers[:1], name="a")
            else:
                agent.drop("a")
            for _ in range(20):
                assert not agent.is_left_alone()
                await trio.lowlevel.checkpoint()


async def test_what_health_checks_say_counts(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server() for _ in range(2)]
    async with running_agent(connect_lab, servers) as agent:
        agent.state(0).probed_healthy = False
        await agent.until(lambda: [agent.called(servers) for _ in range(4)] == [1, 1, 1, 1])
        agent.state(0).probed_healthy = True
        await agent.until(lambda: {agent.called(servers) for _ in range(4)} == {0, 1})


async def test_weights_count(connect_lab: ConnectLab) -> None:
    servers = [connect_lab.server() for _ in range(2)]
    none, all_of_them = (endpoint_of(server) for server in servers)
    async with running_agent(connect_lab) as agent:
        agent.serve([replace(none, weight=0), all_of_them])
        await agent.balances(1)
        assert {agent.called(servers) for _ in range(10)} == {1}


async def test_datagrams_are_balanced_too(connect_lab: ConnectLab) -> None:
    server = connect_lab.server(kind=UDP)
    async with running_agent(connect_lab) as agent:
        agent.serve([server], transport=Transport.UDP)
        await agent.balances(1)
        caller = connect_lab.caller(kind=UDP)
        caller.sendto(b"question", (SERVICE[4], PORT))
        data, client = server.recvfrom(100)
        server.sendto(b"answer to " + data, client)
        assert caller.recvfrom(100) == (b"answer to question", (SERVICE[4], PORT))


async def test_when_it_has_ended_calls_are_left_alone_and_connections_live_on(
    connect_lab: ConnectLab,
) -> None:
    server = connect_lab.server()
    async with running_agent(connect_lab, [server]) as agent:
        caller = connect_lab.call()
        accepted_there, _ = server.accept()
    assert agent.is_left_alone()
    caller.sendall(b"still here")
    assert accepted_there.recv(100) == b"still here"
    accepted_there.close()


async def test_what_finds_no_room_in_the_maps_is_left_alone_and_told() -> None:
    with loaded_programs(connect_endpoints=10) as programs, ExitStack() as opened:
        lab = ConnectLab(programs, opened)
        servers = [lab.server()]
        many = [Endpoint(f"10.0.0.{number}", PORT) for number in range(1, 40)]
        async with running_agent(lab, servers) as agent:
            agent.serve(many, name="many", addresses=["10.96.0.99"])
            await agent.until(lambda: agent.sync.problem)
            assert agent.sync.problem.startswith("1 Service ports are not in the kernel's maps")
            assert agent.called(servers) == 0
            agent.serve(servers, name="many", addresses=["10.96.0.99"])
            await agent.until(lambda: not agent.sync.problem)
            assert agent.sync.ports == 2
