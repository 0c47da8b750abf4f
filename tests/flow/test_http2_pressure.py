"""Limits of HTTP/2 connections: receivers that do not read, full endpoints, ends in order."""

from __future__ import annotations

import pytest
import trio
from http2_peers import (
    GET,
    OK,
    POST,
    H2Peer,
    h2_asked,
    h2_client,
    h2_endpoint,
    h2_exchanged,
    h2_pair,
)
from plane_fixtures import PATIENCE_SECONDS, World, running

from edgemesh.model.policies import Limits, Policy, Timeouts
from edgemesh.model.services import Source
from edgemesh.proxy.http2.client import ClientLink

pytestmark = pytest.mark.root

WINDOW = 65536


def kept(world: World) -> int:
    """Bytes that wait in the data plane for somebody to read."""
    links = [*world.plane.http.connections, *world.plane.http2.pool._open]
    total = 0
    for link in links:
        total += len(link._unsent) + sum(map(len, link.connection.output))
        for stream in link.connection.waiting:
            total += sum(map(len, stream.waiting or ()))
    return total


async def fill(peer: H2Peer, stream_id: int, world: World) -> int:
    """Send until no more window is given; how much that was."""
    sent = 0
    while True:
        room = min(peer.h2.local_flow_control_window(stream_id), 16384)
        if room:
            peer.h2.send_data(stream_id, bytes(room))
            await peer.send()
            sent += room
            continue
        await world.comes_to_rest()
        with trio.move_on_after(0.05) as waited:
            await peer.hear()
        if waited.cancelled_caught:
            return sent


async def test_a_client_that_gives_no_window_stops_the_endpoint() -> None:
    async with running() as world:
        client, endpoint = await h2_asked(world)
        client.acknowledges = False
        endpoint.h2.send_headers(1, OK)
        sent = await fill(endpoint, 1, world)
        assert sent <= 2 * WINDOW
        assert kept(world) <= WINDOW
        client.acknowledges = True
        client.h2.acknowledge_received_data(len(client.on(1).body), 1)
        await client.send()
        await client.until(lambda: len(client.on(1).body) == sent)


async def test_a_client_whose_socket_is_full_stops_the_endpoint() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint, application_protocol="http2")
        peer = await world.call(receive=4096)
        client = await H2Peer(peer, client=True).greet(initial_window_size=2**30)
        client.h2.increment_flow_control_window(2**30)
        stream_id = await client.request()
        endpoint = await h2_endpoint(server)
        await endpoint.next_request()
        endpoint.h2.send_headers(1, OK)
        sent = await fill(endpoint, 1, world)
        assert sent < 20_000_000
        assert kept(world) <= 2 * WINDOW
        await world.comes_to_rest()
        await client.until(lambda: len(client.on(stream_id).body) == sent)


async def test_an_endpoint_that_does_not_read_stops_the_client() -> None:
    async with running() as world:
        server = world.serve(receive=4096)
        world.service(server.endpoint, application_protocol="http2")
        client = await h2_client(world)
        stream_id = await client.begin()
        endpoint = await h2_endpoint(server, initial_window_size=2**30)
        endpoint.h2.increment_flow_control_window(2**30)
        await endpoint.next_request(over=False)
        sent = await fill(client, stream_id, world)
        assert sent < 20_000_000
        assert kept(world) <= 2 * WINDOW
        await endpoint.until(lambda: len(endpoint.heard[1].body) == sent)


async def test_a_client_that_does_not_read_does_not_stop_another() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        client.acknowledges = False
        for _ in range(30):
            await client.request()
        endpoint = await h2_endpoint(server)
        for _ in range(30):
            stream_id = await endpoint.next_request()
            endpoint.h2.send_headers(stream_id, OK)
            await fill(endpoint, stream_id, world) if stream_id < 9 else None
        other = await h2_client(world)
        stream_id = await other.request()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.over, stream_id)
            await endpoint.respond(await endpoint.next_request(), body=bytes(500_000))
        assert len(other.on(stream_id).body) == 500_000


async def test_a_client_that_broke_a_rule_gets_to_read_so_though_it_goes_on_sending() -> None:
    async with running() as world:
        world.linger(60)
        client, _ = await h2_pair(world)
        await client.peer.send(b"\0\0\0\0\0\0\0\0\0" + bytes(100_000))
        await client.until_closed()
        assert client.goodbye is not None
        await client.peer.send(bytes(100_000))
        assert not world.reports
        world.skip(61)
        assert (await world.report()).ending == "error"


async def test_who_floods_and_does_not_read_is_cut() -> None:
    async with running() as world:
        client, _ = await h2_pair(world)
        with trio.fail_after(PATIENCE_SECONDS):
            for _ in range(3000):
                client.h2.ping(bytes(8))
            await client.send()
        await client.until_closed()
        client.peer.close()
        report = await world.report()
        assert report.ending == "error"
        assert "PING" in report.reason


async def test_a_broken_client_that_does_not_read_is_cut() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint, application_protocol="http2")
        peer = await world.call(receive=4096)
        client = await H2Peer(peer, client=True).greet(initial_window_size=2**30)
        client.h2.increment_flow_control_window(2**30)
        await client.request()
        endpoint = await h2_endpoint(server)
        await endpoint.next_request()
        endpoint.h2.send_headers(1, OK)
        await fill(endpoint, 1, world)
        await client.peer.send(b"\0\0\0\0\0\0\0\0\0")
        assert (await world.report()).ending == "error"
        await endpoint.until(lambda: endpoint.heard[1].reset == 8)


async def test_an_endpoint_that_is_full_gets_a_second_connection() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        first_stream = await client.request()
        endpoint = await h2_endpoint(server, max_concurrent_streams=1)
        await endpoint.next_request()
        await endpoint.until(lambda: endpoint.acknowledged == 2)
        second_stream = await client.request()
        other = await h2_endpoint(server)
        await other.respond(await other.next_request(), body=b"two")
        await endpoint.respond(1, body=b"one")
        assert (await client.over(first_stream)).body == b"one"
        assert (await client.over(second_stream)).body == b"two"


async def test_requests_wait_for_a_stream_when_there_may_be_no_more_connections() -> None:
    async with running() as world:
        policy = Policy(limits=Limits(max_connections=1))
        client, server = await h2_pair(world, policy=policy)
        await client.request()
        endpoint = await h2_endpoint(server, max_concurrent_streams=1)
        await endpoint.next_request()
        await endpoint.until(lambda: endpoint.acknowledged == 2)
        waiting = [await client.request() for _ in range(3)]
        await world.until(lambda: pending(world) == 3)
        await client.reset(waiting.pop(1), 8)
        await world.until(lambda: pending(world) == 2)
        await endpoint.respond(1)
        for number, stream_id in enumerate(waiting):
            await endpoint.respond(await endpoint.next_request())
            assert (await client.over(stream_id)).status == "200", number
        assert pending(world) == 0


def pending(world: World) -> int:
    return sum(one.pending for one in world.plane.decider.traffic.upstreams())


async def test_no_more_requests_wait_than_may() -> None:
    async with running() as world:
        policy = Policy(limits=Limits(max_connections=1, max_pending=1))
        client, server = await h2_pair(world, policy=policy)
        await client.request()
        endpoint = await h2_endpoint(server, max_concurrent_streams=1)
        await endpoint.next_request()
        await endpoint.until(lambda: endpoint.acknowledged == 2)
        await client.request()
        await world.until(lambda: pending(world) == 1)
        refused = await client.over(await client.request())
        assert refused.head["x-edgemesh-reason"] == "overflow"


async def test_a_connection_is_closed_after_as_many_requests_as_it_may_carry() -> None:
    async with running() as world:
        policy = Policy(limits=Limits(max_requests_per_connection=2))
        client, server = await h2_pair(world, policy=policy)
        for _ in range(2):
            for number in range(2):
                await client.request()
                if not number:
                    endpoint = await h2_endpoint(server)
                await endpoint.respond(await endpoint.next_request())
            await endpoint.until_closed()
            assert endpoint.goodbye is not None
        assert (await client.over(7)).status == "200"


async def test_an_idle_connection_to_an_endpoint_is_closed() -> None:
    async with running() as world:
        _, _, endpoint = await h2_exchanged(world)
        for _ in range(3):
            world.skip(40)
            await world.deadlines_pass()
        await endpoint.until_closed()
        assert len(world.plane.http2.pool) == 0


async def test_a_connection_that_an_endpoint_closes_is_replaced() -> None:
    async with running() as world:
        client, server, endpoint = await h2_exchanged(world)
        endpoint.peer.close()
        await world.until(lambda: len(world.plane.http2.pool) == 0)
        stream_id = await client.request()
        other = await h2_endpoint(server)
        await other.respond(await other.next_request())
        assert (await client.over(stream_id)).status == "200"


async def test_endpoints_see_the_client_s_address_where_they_shall() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint, application_protocol="http2", source=Source.PRESERVE)
        seen = []
        for source in ("127.0.0.5", "127.0.0.6"):
            client = await H2Peer(await world.call(source=source), client=True).greet()
            await client.request()
            endpoint = await h2_endpoint(server)
            seen.append(endpoint.peer.remote[0])
            await endpoint.respond(await endpoint.next_request())
            await client.over(1)
        assert seen == ["127.0.0.5", "127.0.0.6"]


async def test_a_drain_lets_requests_finish_and_says_goodbye() -> None:
    async with running() as world:
        client, endpoint = await h2_asked(world)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.plane.drain, PATIENCE_SECONDS)
            await client.until(lambda: client.goodbye is not None)
            await endpoint.respond(1, body=b"done")
            await client.until_closed()
        assert client.on(1).body == b"done"
        assert world.plane.all_over.is_set()
        assert (await world.report()).ending == "closed"


async def test_an_idle_client_goes_at_once_in_a_drain() -> None:
    async with running() as world:
        client, _, _ = await h2_exchanged(world)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.plane.drain, PATIENCE_SECONDS)
            await client.until_closed()
        assert (await world.report()).ending == "closed"


async def test_a_client_that_comes_in_a_drain_is_told_to_go() -> None:
    async with running() as world:
        world.service(world.closed(), application_protocol="http2")
        silent = await world.call()
        await world.until(lambda: world.plane.http.connections)
        world.plane.draining = True
        client = await h2_client(world)
        await client.until_closed()
        assert client.goodbye is not None
        silent.close()


async def test_a_client_that_ignores_the_goodbye_is_closed_when_it_is_idle() -> None:
    async with running() as world:
        world.service(world.closed(), application_protocol="http2")
        silent = await world.call()
        await world.until(lambda: len(world.plane.http.connections) == 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.plane.drain, 3)
            await world.until(lambda: world.plane.draining)
            world.skip(2)
            await silent.receive_all()


async def test_a_client_that_says_nothing_is_closed() -> None:
    async with running() as world:
        world.service(world.closed(), application_protocol="http2")
        silent = await world.call()
        await world.until(lambda: world.plane.http.connections)
        world.skip(11)
        await silent.receive_all()
        assert (await world.report()).ending == "idle-timeout"


async def test_a_header_block_that_is_never_complete_ends_its_connection() -> None:
    async with running() as world:
        client, _ = await h2_pair(world, policy=Policy(timeouts=Timeouts(idle=3600)))
        await client.peer.send(b"\0\0\1\1\0\0\0\0\1\x82")
        await world.until(
            lambda: any(
                isinstance(link, ClientLink) and link.connection.in_head_since is not None
                for link in world.plane.http.connections
            )
        )
        for _ in range(2):
            world.skip(11)
            await world.deadlines_pass()
        await client.until_closed()


async def test_the_end_of_a_response_that_nobody_takes_is_not_kept_for_ever() -> None:
    async with running() as world:
        client, endpoint = await h2_asked(world)
        client.acknowledges = False
        await endpoint.respond(1, body=bytes(WINDOW + 100))
        await world.until(lambda: not pending_streams(world))
        for _ in range(2):
            world.skip(400)
            await world.deadlines_pass()
        assert (await client.over(1)).reset == 0


def pending_streams(world: World) -> int:
    """Streams to endpoints that are open."""
    return sum(len(one.connection.streams) for one in world.plane.http2.pool._open)


async def test_what_is_remembered_is_given_back_at_the_end() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        for _ in range(2):
            await client.request((*GET, ("x", "y")))
        endpoint = await h2_endpoint(server)
        for _ in range(2):
            await endpoint.respond(await endpoint.next_request(), ((":status", "200"), ("a", "b")))
        await client.over(3)
        await client.request(POST)
    shared = world.plane.http2
    assert shared.budget.left == shared.settings.cache_bytes
