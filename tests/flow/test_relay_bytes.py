"""What the relay promises about bytes: all of them, in order, each way by itself."""

from __future__ import annotations

import random
import socket

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mover_rules import BY_ALL_MOVERS
from plane_fixtures import Peer, running

from edgemesh.proxy.context import PromotionRule

pytestmark = [pytest.mark.root, BY_ALL_MOVERS]

CHUNKS = st.lists(st.integers(1, 150_000), max_size=8)


def some_bytes(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


async def say(peer: Peer, data: bytes, chunks: list[int]) -> None:
    start = 0
    for chunk in chunks:
        await peer.send(data[start : start + chunk])
        start += chunk
    peer.half_close()


@given(up=CHUNKS, down=CHUNKS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_bytes_arrive_equal_whatever_the_chunks_both_ways_at_once(
    rule: PromotionRule, up: list[int], down: list[int]
) -> None:
    async with running(rule=rule, relay_buffer_bytes=16384) as world:
        client, endpoint = await world.connected()
        said_up, said_down = some_bytes(sum(up), 1), some_bytes(sum(down), 2)
        heard: dict[str, bytes] = {}

        async def hear(who: str, peer: Peer) -> None:
            heard[who] = await peer.receive_all()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, client, said_up, up)
            nursery.start_soon(say, endpoint, said_down, down)
            nursery.start_soon(hear, "client", client)
            nursery.start_soon(hear, "endpoint", endpoint)
        assert heard["endpoint"] == said_up
        assert heard["client"] == said_down
        report = await world.report()
        assert (report.bytes_sent, report.bytes_received) == (len(said_up), len(said_down))
        assert report.ending == "closed"


async def test_data_flows_back_for_megabytes_after_the_client_has_closed_its_half(
    rule: PromotionRule,
) -> None:
    async with running(rule=rule) as world:
        client, endpoint = await world.connected()
        await client.send(b"question")
        client.half_close()
        assert await endpoint.receive_all() == b"question"
        data = some_bytes(5_000_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, endpoint, data, [len(data)])
            assert await client.receive_all() == data
        assert (await world.report()).ending == "closed"


async def test_data_flows_on_for_megabytes_after_the_endpoint_has_closed_its_half(
    rule: PromotionRule,
) -> None:
    async with running(rule=rule) as world:
        client, endpoint = await world.connected()
        endpoint.half_close()
        assert await client.receive_all() == b""
        data = some_bytes(5_000_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, client, data, [len(data)])
            assert await endpoint.receive_all() == data
        assert (await world.report()).ending == "closed"


async def test_a_flow_without_a_byte_is_closed_and_reported(rule: PromotionRule) -> None:
    async with running(rule=rule) as world:
        client, endpoint = await world.connected()
        client.half_close()
        endpoint.half_close()
        assert await client.receive_all() == b""
        assert await endpoint.receive_all() == b""
        report = await world.report()
        assert (report.bytes_sent, report.bytes_received, report.ending) == (0, 0, "closed")


async def test_a_server_that_speaks_first_is_heard_at_once(rule: PromotionRule) -> None:
    async with running(rule=rule) as world:
        client, endpoint = await world.connected()
        await endpoint.send(b"220 ready\r\n")
        assert await client.receive(11) == b"220 ready\r\n"
        client.close()
        assert await endpoint.receive_all() == b""
        endpoint.close()
        assert (await world.report()).application_protocol == "opaque"


async def test_end_of_stream_together_with_data_comes_after_the_data(rule: PromotionRule) -> None:
    async with running(rule=rule) as world:
        client, endpoint = await world.connected()
        client.raw.send(b"all there is", socket.MSG_MORE)
        client.half_close()
        assert await endpoint.receive_all() == b"all there is"


@pytest.mark.parametrize("upwards", [True, False], ids=["from the client", "from the endpoint"])
async def test_an_urgent_byte_is_passed_on_in_its_place(
    rule: PromotionRule, *, upwards: bool
) -> None:
    async with running(rule=rule) as world:
        client, endpoint = await world.connected()
        speaker, hearer = (client, endpoint) if upwards else (endpoint, client)
        await speaker.send(b"one ")
        speaker.raw.send(b"!", socket.MSG_OOB)
        await speaker.send(b" two")
        speaker.half_close()
        assert await hearer.receive_all() == b"one ! two"


async def test_an_urgent_byte_right_before_the_end_of_the_stream_is_not_lost(
    rule: PromotionRule,
) -> None:
    async with running(rule=rule) as world:
        client, endpoint = await world.connected()
        await client.send(b"one ")
        assert await endpoint.receive(4) == b"one "
        # All of it is there when the reactor has its next turn: no await in between.
        client.raw.send(b"!", socket.MSG_OOB)
        client.raw.send(b" two")
        client.half_close()
        assert await endpoint.receive_all() == b"! two"


async def test_it_works_over_ipv6_and_between_the_families(rule: PromotionRule) -> None:
    async with running(rule=rule) as world:
        for address, served in (("::1", "::1"), ("127.0.0.1", "::1"), ("::1", "127.0.0.1")):
            server = world.serve(served)
            world.service(server.endpoint)
            client = await world.call(address)
            endpoint = await server.accept()
            await client.send(b"across")
            assert await endpoint.receive(6) == b"across"


async def test_small_messages_are_sent_at_once(rule: PromotionRule) -> None:
    """Nagle's algorithm and delayed acknowledgements together cost 40 ms a message."""
    async with running(rule=rule) as world:
        await world.connected()
        (flow,) = world.plane.flows
        await world.until(lambda: flow.upstream)
        for sock in (flow.client, flow.upstream):
            assert sock is not None
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
