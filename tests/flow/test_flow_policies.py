"""Policies of TCP flows that are relayed: quotas, limits, breakers, deadlines."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
import structlog
from plane_fixtures import Peer, Server, World, running

from edgemesh.model.policies import (
    Breaker,
    Limits,
    Policy,
    Quota,
    QuotaScope,
    ServerLimits,
    Timeouts,
)
from edgemesh.model.services import Endpoint, PodIdentity, Snapshot, Transport
from edgemesh.policy.traffic.breaker import Phase
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.upstream import Upstream

pytestmark = pytest.mark.root

ONE = Breaker(consecutive_errors=1, max_ejection_percent=100)


def upstream_of(world: World) -> Upstream:
    (upstream,) = world.plane.decider.traffic.upstreams()
    return upstream


def state_of(world: World, endpoint: Endpoint) -> EndpointState:
    (state,) = (
        state for state in upstream_of(world).states() if state.endpoint.port == endpoint.port
    )
    return state


def phase(world: World, endpoint: Endpoint) -> Phase:
    return state_of(world, endpoint).breaker.phase


async def talk(client: Peer, server: Server) -> Peer:
    """A word there and a word back."""
    endpoint = await server.accept()
    await client.send(b"hello")
    assert await endpoint.receive(5) == b"hello"
    await endpoint.send(b"world")
    assert await client.receive(5) == b"world"
    return endpoint


async def test_connections_beyond_the_quota_are_reset_and_counted() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint, policy=Policy(client_quota=Quota(0.01, 2)))
        pairs = [(await world.call(), await server.accept()) for _ in range(2)]
        await world.call_in_vain()
        assert world.plane.metrics.refusals.by_reason == {"quota": 1}
        world.skip(100.0)
        pairs.append((await world.call(), await server.accept()))
        assert len(pairs) == 3


async def test_a_quota_by_source_counts_each_workload_by_itself() -> None:
    async with running() as world:
        server = world.serve()
        pods = {f"127.0.0.{end}": PodIdentity("shop", f"pod-{end}", "cart") for end in (2, 3)}
        world.plane.swap(Snapshot(pods=pods))
        world.service(
            server.endpoint, policy=Policy(client_quota=Quota(0.01, 1, QuotaScope.SOURCE))
        )
        clients = [await world.call(source="127.0.0.2")]
        await server.accept()
        with pytest.raises(ConnectionResetError):
            await (await world.call(source="127.0.0.3")).sock.recv(1)
        clients.append(await world.call(source="127.0.0.4"))
        await server.accept()


async def test_connections_beyond_the_limit_are_reset_until_one_ends() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint, policy=Policy(limits=Limits(max_connections=1)))
        client = await world.call()
        await server.accept()
        await world.call_in_vain()
        assert world.plane.metrics.refusals.by_reason == {"overflow": 1}
        assert upstream_of(world).connections == 1
        client.reset()
        await world.until(lambda: not world.plane.flows)
        assert upstream_of(world).connections == 0
        await world.call()
        await server.accept()


async def test_what_is_open_is_counted_by_endpoint() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint)
        pairs = [(await world.call(), await server.accept()) for _ in range(3)]
        state = state_of(world, server.endpoint)
        assert (state.active, state.connections) == (3, 3)
        for client, endpoint in pairs:
            client.half_close()
            endpoint.half_close()
        await world.until(lambda: not world.plane.flows)
        assert (state.active, state.connections, state.calls, state.failures) == (0, 0, 3, 0)


async def test_an_endpoint_that_refuses_is_ejected_and_the_event_is_logged_and_counted() -> None:
    with structlog.testing.capture_logs() as lines:
        async with running() as world:
            server, dead = world.serve(), world.closed()
            world.service(dead, server.endpoint, policy=Policy(breaker=ONE))
            for _ in range(4):
                await talk(await world.call(), server)
            await world.until(lambda: len(world.plane.flows) == 4)
            assert phase(world, dead) is Phase.OPEN
            assert state_of(world, dead).calls == 1
            port = world.plane.decider.called_port(Transport.TCP, ("127.0.0.1", world.port))
            assert port is not None
            assert world.plane.metrics.meters.meter(port, dead, "relay").ejections == 1
    (line,) = [line for line in lines if line.get("event") == "endpoint ejected"]
    assert line["endpoint"] == f"127.0.0.1:{dead.port}"
    assert line["reason"] == "consecutive-errors"
    assert line["service"] == "default/echo:80"


async def test_an_endpoint_that_does_not_answer_the_connect_is_ejected() -> None:
    async with running() as world:
        server, full = world.serve(), await world.full()
        world.service(full, server.endpoint, policy=Policy(breaker=ONE))
        client = await world.call()
        await world.until(lambda: world.plane.flows)
        await world.comes_to_rest()
        world.skip(2.0)
        await talk(client, server)
        assert phase(world, full) is Phase.OPEN


async def test_with_all_endpoints_ejected_the_client_is_reset_at_once() -> None:
    async with running() as world:
        world.service(world.closed(), world.closed(), policy=Policy(breaker=ONE))
        await world.call_in_vain()
        assert (await world.report()).ending == "connect-failed"
        await world.call_in_vain()
        report = await world.report(2)
        assert (report.ending, report.reason, report.attempts) == ("refused", "breaker-open", 0)


async def test_a_reset_before_any_answer_is_a_failure_and_after_one_it_is_not() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint, policy=Policy(breaker=ONE))
        endpoint = await talk(await world.call(), server)
        endpoint.reset()
        await world.until(lambda: not world.plane.flows)
        assert phase(world, server.endpoint) is Phase.CLOSED
        client = await world.call()
        endpoint = await server.accept()
        await client.send(b"hello")
        assert await endpoint.receive(5) == b"hello"
        endpoint.reset()
        await world.until(lambda: not world.plane.flows)
        assert phase(world, server.endpoint) is Phase.OPEN


async def test_the_last_words_before_a_reset_are_an_answer() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint, policy=Policy(breaker=ONE))
        client = await world.call()
        endpoint = await server.accept()
        await endpoint.send(b"goodbye")
        endpoint.reset()
        assert await client.receive_until_reset() == b"goodbye"
        await world.until(lambda: not world.plane.flows)
        assert phase(world, server.endpoint) is Phase.CLOSED


@pytest.mark.parametrize("how", [Peer.reset, Peer.close])
async def test_a_client_that_leaves_says_nothing_about_the_endpoint(how: object) -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint, policy=Policy(breaker=ONE))
        client = await world.call()
        endpoint = await server.accept()
        assert callable(how)
        how(client)
        endpoint.close()
        await world.until(lambda: not world.plane.flows)
        assert phase(world, server.endpoint) is Phase.CLOSED


async def test_an_ejected_endpoint_returns_when_its_trial_has_answered_though_it_goes_on() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint, policy=Policy(breaker=ONE))
        client = await world.call()
        (await server.accept()).reset()
        assert await client.receive_until_reset() == b""
        await world.until(lambda: not world.plane.flows)
        await world.call_in_vain()
        world.skip(30.0)
        trial = await world.call()
        endpoint = await server.accept()
        assert phase(world, server.endpoint) is Phase.HALF_OPEN
        # One trial at a time.
        await world.call_in_vain()
        await endpoint.send(b"well")
        assert await trial.receive(4) == b"well"
        assert phase(world, server.endpoint) is Phase.CLOSED
        await talk(await world.call(), server)
        assert len(world.plane.flows) == 2


async def test_an_endpoint_that_never_answers_what_it_was_sent_is_ejected_in_the_end() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint, policy=Policy(breaker=ONE, timeouts=Timeouts(idle=60.0)))
        client = await world.call()
        endpoint = await server.accept()
        await client.send(b"hello")
        assert await endpoint.receive(5) == b"hello"
        world.skip(60.0)
        assert await client.receive_until_reset() == b""
        report = await world.report()
        assert (report.ending, report.reason) == ("idle-timeout", "silent for 60 s")
        assert phase(world, server.endpoint) is Phase.OPEN


async def test_silence_of_a_flow_where_nothing_was_asked_is_no_failure() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint, policy=Policy(breaker=ONE, timeouts=Timeouts(idle=60.0)))
        client = await world.call()
        await server.accept()
        await world.until(world.plane.metrics.meters.all)
        world.skip(60.0)
        assert await client.receive_until_reset() == b""
        assert phase(world, server.endpoint) is Phase.CLOSED


async def test_a_policy_may_bear_silence_for_ever() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint, policy=Policy(timeouts=Timeouts(idle=0.0)))
        client = await world.call()
        endpoint = await server.accept()
        world.skip(100_000.0)
        await world.deadlines_pass()
        await client.send(b"still here")
        assert await endpoint.receive(10) == b"still here"


async def test_the_connect_timeout_of_a_policy_holds_before_the_setting() -> None:
    async with running(connect_timeout_seconds=100.0) as world:
        world.service(await world.full(), policy=Policy(timeouts=Timeouts(connect=10.0)))
        client = await world.call()
        await world.until(lambda: world.plane.flows)
        world.skip(10.0)
        assert await client.receive_until_reset() == b""
        assert (await world.report()).ending == "connect-timeout"


async def test_without_a_connect_timeout_the_kernel_gives_up_when_it_does() -> None:
    async with running() as world:
        world.service(await world.full(), policy=Policy(timeouts=Timeouts(connect=0.0)))
        await world.call()
        await world.until(lambda: world.plane.flows)
        world.skip(1000.0)
        await world.deadlines_pass()
        assert world.plane.flows
        assert world.reports == []


async def test_when_this_node_has_no_descriptors_left_the_endpoint_is_not_to_blame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(*_: object) -> socket.socket:
        raise OSError(24, "Too many open files")

    async with running() as world:
        server = world.serve()
        world.service(server.endpoint, policy=Policy(breaker=ONE))
        monkeypatch.setattr("edgemesh.proxy.connecting.dialling_socket", none_left)
        await world.call_in_vain()
        assert (await world.report()).reason.endswith("Too many open files")
        assert phase(world, server.endpoint) is Phase.CLOSED


HERE = "edge-1"
ONE_WAITS = ServerLimits(max_concurrent=1, max_queue=1, queue_timeout_seconds=60.0)


def serve_here(world: World, limits: ServerLimits, count: int = 1) -> list[Server]:
    servers = [world.serve() for _ in range(count)]
    world.plane.swap(Snapshot(node=HERE))
    here = [replace(server.endpoint, node=HERE) for server in servers]
    world.service(*here, policy=Policy(server=limits))
    return servers


async def test_connections_beyond_the_servers_quota_are_reset() -> None:
    async with running() as world:
        (server,) = serve_here(world, ServerLimits(Quota(0.01, 1)))
        await world.call()
        await server.accept()
        await world.call_in_vain()
        assert (await world.report()).reason == "server-quota"


async def test_a_connection_waits_for_its_turn_and_then_goes_on() -> None:
    async with running() as world:
        (server,) = serve_here(world, ONE_WAITS)
        first = await world.call()
        await talk(first, server)
        second = await world.call()
        await second.send(b"hello")
        await world.until_one_waits()
        await world.call_in_vain()
        assert (await world.report()).reason == "server-overflow"
        first.reset()
        await talk(second, server)


async def test_a_connection_waits_no_longer_than_the_limits_say() -> None:
    async with running() as world:
        limits = ServerLimits(max_concurrent=1, max_queue=1, queue_timeout_seconds=10.0)
        (server,) = serve_here(world, limits)
        await talk(await world.call(), server)
        second = await world.call()
        await world.until_one_waits()
        world.skip(10.0)
        assert await second.receive_until_reset() == b""
        assert (await world.report()).reason == "server-overflow"


async def test_when_limits_grow_a_connection_that_waits_goes_on() -> None:
    async with running() as world:
        (server,) = serve_here(world, ONE_WAITS)
        await talk(await world.call(), server)
        second = await world.call()
        await world.until_one_waits()
        here = replace(server.endpoint, node=HERE)
        world.service(here, policy=Policy(server=ServerLimits(max_concurrent=2)))
        await talk(second, server)


async def test_after_a_wait_an_endpoint_that_refuses_is_followed_by_the_next() -> None:
    async with running() as world:
        first, second = serve_here(world, ONE_WAITS, 2)
        client = await world.call()
        await talk(client, first)
        waiting = await world.call()
        await world.until_one_waits()
        second.sock.close()
        client.reset()
        await talk(waiting, first)


async def test_those_who_wait_are_let_go_when_the_plane_stops() -> None:
    async with running() as world:
        (server,) = serve_here(world, ONE_WAITS)
        await talk(await world.call(), server)
        await world.call()
        await world.until_one_waits()
    assert [report.ending for report in world.reports] == ["drain", "drain"]
