"""However little a reader reads, the kernel holds no more of its flow than the setting says."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import trio
from gate_fixtures import Gated, acknowledged, gated, open_gate, send_until_stuck
from plane_fixtures import PATIENCE_SECONDS, Peer

from edgemesh.kernel.bpf.gate_maps import Gate, Way

pytestmark = pytest.mark.root

BACKLOG_BYTES = 131072
PIECE_BYTES = 4096  # of bpf/gate.h
# What TCP's own buffers take of a flow on its whole way, whoever carries it, is less than this.
BUFFERS_BYTES = 256 << 20
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    with open_gate(backlog_bytes=BACKLOG_BYTES) as made:
        yield made


def under_way(plane: Gated) -> int:
    """Bytes that the kernel has redirected to the endpoint, and that it has not acknowledged."""
    (flow,) = plane.sockmap.members
    assert flow.upstream is not None
    way = from_client(plane)
    return way.base + way.redirected - acknowledged(flow.upstream)


def from_client(plane: Gated) -> Way:
    (member,) = plane.sockmap.members.values()
    return member.client.way


async def test_no_more_is_under_way_than_the_setting_says(gate: Gate) -> None:
    async with gated(gate) as plane:
        client, endpoint = await plane.connected(receive=4096)
        most = 0

        async def look() -> None:
            nonlocal most
            while True:
                if plane.inside():
                    most = max(most, under_way(plane))
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            sent = await send_until_stuck(client, bytes(1000), BUFFERS_BYTES)
            nursery.cancel_scope.cancel()
        assert sent < BUFFERS_BYTES
        assert 0 < most <= BACKLOG_BYTES
        assert from_client(plane).redirected < sent
        await receive_all_of(sent, endpoint)


async def test_bytes_that_come_one_by_one_count_as_what_they_take(gate: Gate) -> None:
    async with gated(gate) as plane:
        client, endpoint = await plane.connected(receive=4096)
        # More than the endpoint takes unread, and less than overflows.
        sent = 1 + BACKLOG_BYTES // 2
        await client.send(bytes(BACKLOG_BYTES // 2))
        await plane.world.until(partial(has_come, from_client(plane), sent))
        single = 0
        while not from_client(plane).passed:
            await client.send(b"1")
            single += 1
            await plane.world.until(partial(has_come, from_client(plane), sent + single))
        assert single <= BACKLOG_BYTES // PIECE_BYTES
        await endpoint.receive(sent - 1 + single)


def has_come(way: Way, sent: int) -> bool:
    return way.base + way.redirected + way.passed >= sent


async def test_everything_arrives_when_the_reader_goes_on(gate: Gate) -> None:
    async with gated(gate) as plane:
        client, endpoint = await plane.connected(receive=4096)
        sent = await send_until_stuck(client, b"0123456789abcdef" * 64, BUFFERS_BYTES)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, b"the rest")
            await receive_all_of(sent, endpoint, b"0123456789abcdef")
            assert await endpoint.receive(8) == b"the rest"


async def test_a_direction_that_is_stuck_does_not_hold_up_the_other(gate: Gate) -> None:
    async with gated(gate) as plane:
        client, endpoint = await plane.connected(receive=4096)
        sent = await send_until_stuck(client, bytes(100), BUFFERS_BYTES)
        for number in range(100):
            said = b"%08d" % number
            await endpoint.send(said)
            assert await client.receive(8) == said
        await receive_all_of(sent, endpoint)


async def test_two_directions_that_are_stuck_get_going_again(gate: Gate) -> None:
    async with gated(gate) as plane:
        client, endpoint = await plane.connected(receive=4096)
        there = await send_until_stuck(client, bytes(100), BUFFERS_BYTES)
        back = await send_until_stuck(endpoint, bytes(100), BUFFERS_BYTES)
        await receive_all_of(back, client)
        await receive_all_of(there, endpoint)


async def receive_all_of(count: int, peer: Peer, pattern: bytes = bytes(16)) -> None:
    """Receive so many bytes that repeat a pattern."""
    whole = pattern * (MEBIBYTE // len(pattern))
    position = 0
    with trio.fail_after(PATIENCE_SECONDS):
        while position < count:
            part = await peer.sock.recv(min(count - position, MEBIBYTE // 2))
            assert part
            start = position % len(pattern)
            assert part == whole[start : start + len(part)]
            position += len(part)
