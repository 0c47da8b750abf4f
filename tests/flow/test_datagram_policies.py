"""Policies of UDP: quotas by the datagram, breakers and choices by the session."""

from __future__ import annotations

from dataclasses import replace

import pytest
from datagram_fixtures import Datagrams, running_datagrams

from edgemesh.model.policies import (
    Balance,
    Balancing,
    Breaker,
    Policy,
    Quota,
    ServerLimits,
    Timeouts,
)
from edgemesh.model.services import Endpoint, Snapshot, Transport
from edgemesh.policy.traffic.breaker import Phase
from edgemesh.policy.traffic.endpoint_state import EndpointState

pytestmark = pytest.mark.root

ONE = Breaker(consecutive_errors=1, max_ejection_percent=100)
HERE = "edge-1"


def refusals(datagrams: Datagrams) -> dict[str, int]:
    return dict(datagrams.world.plane.metrics.refusals.by_reason)


def state_of(datagrams: Datagrams, endpoint: Endpoint) -> EndpointState:
    (upstream,) = datagrams.world.plane.decider.traffic.upstreams()
    (state,) = (each for each in upstream.states() if each.endpoint.port == endpoint.port)
    return state


async def test_datagrams_beyond_the_quota_are_dropped_and_counted_and_the_session_goes_on() -> None:
    async with running_datagrams() as datagrams:
        client, server = await datagrams.speaker(), await datagrams.speaker()
        datagrams.service(server.endpoint, policy=Policy(client_quota=Quota(0.01, 2)))
        for word in (b"1", b"2", b"3", b"4"):
            await client.send(word, ("127.0.0.1", datagrams.port))
        assert [(await server.receive())[0] for _ in range(2)] == [b"1", b"2"]
        await datagrams.world.until(lambda: refusals(datagrams) == {"quota": 2})
        assert len(datagrams.world.plane.sessions) == 1
        datagrams.world.skip(100.0)
        await datagrams.ask(client, server, b"5")


async def test_a_quota_that_comes_with_a_snapshot_holds_for_sessions_that_are_there() -> None:
    async with running_datagrams() as datagrams:
        client, server = await datagrams.speaker(), await datagrams.speaker()
        datagrams.service(server.endpoint)
        await datagrams.ask(client, server)
        datagrams.service(server.endpoint, policy=Policy(client_quota=Quota(0.01, 1)))
        await datagrams.ask(client, server)
        await client.send(b"?", ("127.0.0.1", datagrams.port))
        await datagrams.world.until(lambda: refusals(datagrams) == {"quota": 1})
        assert datagrams.world.plane.reports.opened == {Transport.UDP: 1}


async def test_the_servers_quota_holds_for_endpoints_of_this_node() -> None:
    async with running_datagrams() as datagrams:
        client, here, there = [await datagrams.speaker() for _ in range(3)]
        datagrams.world.plane.swap(Snapshot(node=HERE))
        policy = Policy(server=ServerLimits(Quota(0.01, 1), max_concurrent=1))
        datagrams.service(replace(here.endpoint, node=HERE), policy=policy)
        await datagrams.ask(client, here)
        await client.send(b"?", ("127.0.0.1", datagrams.port))
        await datagrams.world.until(lambda: refusals(datagrams) == {"server-quota": 1})
        datagrams.service(replace(there.endpoint, node="edge-2"), policy=policy)
        for _ in range(3):
            await datagrams.ask(client, there)


async def test_an_endpoint_is_chosen_for_each_session_not_for_each_datagram() -> None:
    async with running_datagrams() as datagrams:
        servers = [await datagrams.speaker() for _ in range(2)]
        datagrams.service(*(server.endpoint for server in servers))
        for turn in range(4):
            client = await datagrams.speaker()
            for _ in range(3):
                await datagrams.ask(client, servers[turn % 2])
        states = [state_of(datagrams, server.endpoint) for server in servers]
        assert [state.active for state in states] == [2, 2]


async def test_sessions_of_one_address_go_to_one_endpoint_when_they_are_hashed() -> None:
    async with running_datagrams() as datagrams:
        servers = [await datagrams.speaker() for _ in range(4)]
        policy = Policy(balancing=Balancing(Balance.MAGLEV))
        datagrams.service(*(server.endpoint for server in servers), policy=policy)
        for _ in range(8):
            client = await datagrams.speaker()
            await client.send(b"?", ("127.0.0.1", datagrams.port))
        world = datagrams.world
        await world.until(lambda: len(world.plane.sessions) == 8)
        active = [state_of(datagrams, server.endpoint).active for server in servers]
        assert sorted(active) == [0, 0, 0, 8]


async def test_an_endpoint_whose_port_is_closed_is_ejected_and_returns_by_its_answer() -> None:
    async with running_datagrams() as datagrams:
        client, server = await datagrams.speaker(), await datagrams.speaker()
        endpoint = server.endpoint
        datagrams.service(endpoint, policy=Policy(breaker=ONE))
        await datagrams.ask(client, server)
        server.sock.close()
        # An answer came before; the error that comes now counts all the same.
        world = datagrams.world
        while not world.reports:
            await client.send(b"?", ("127.0.0.1", datagrams.port))
            await world.comes_to_rest()
        assert state_of(datagrams, endpoint).breaker.phase is Phase.OPEN
        await client.send(b"?", ("127.0.0.1", datagrams.port))
        await world.until(lambda: refusals(datagrams).get("breaker-open"))
        world.skip(30.0)
        back = await datagrams.speaker(port=endpoint.port)
        await datagrams.ask(client, back)
        assert state_of(datagrams, endpoint).breaker.phase is Phase.CLOSED


async def test_silence_is_no_failure() -> None:
    async with running_datagrams() as datagrams:
        client, server = await datagrams.speaker(), await datagrams.speaker()
        policy = Policy(breaker=ONE, timeouts=Timeouts(idle=5.0))
        datagrams.service(server.endpoint, policy=policy)
        await client.send(b"?", ("127.0.0.1", datagrams.port))
        await server.receive()
        datagrams.world.skip(5.0)
        report = await datagrams.world.report()
        assert (report.ending, report.reason) == ("closed", "silent")
        assert state_of(datagrams, server.endpoint).breaker.phase is Phase.CLOSED


async def test_a_policy_may_bear_silence_for_ever() -> None:
    async with running_datagrams() as datagrams:
        client, server = await datagrams.speaker(), await datagrams.speaker()
        datagrams.service(server.endpoint, policy=Policy(timeouts=Timeouts(idle=0.0)))
        caller = await datagrams.ask(client, server)
        datagrams.world.skip(100_000.0)
        await datagrams.world.deadlines_pass()
        assert await datagrams.ask(client, server) == caller
