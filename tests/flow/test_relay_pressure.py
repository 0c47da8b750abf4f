"""A receiver that does not read stops its sender; nothing is lost and nothing spins."""

from __future__ import annotations

import random

import pytest
import trio
from mover_rules import BY_EACH_MOVER
from plane_fixtures import Peer, World, running

from edgemesh.proxy.context import OpenFlow, PromotionRule
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.pump import End, Pump

pytestmark = [pytest.mark.root, BY_EACH_MOVER]

BUFFER = 8192
SMALL = 4096
BOTH_WAYS = pytest.mark.parametrize("sender", ["client", "endpoint"])


async def pair(world: World, sender: str) -> tuple[Peer, Peer]:
    client, endpoint = await world.connected(receive=SMALL)
    return (client, endpoint) if sender == "client" else (endpoint, client)


async def fill(world: World, sender: Peer, data: bytes) -> int:
    """Send until everything between sender and receiver is full; how much that took."""
    (flow,) = world.plane.flows
    sent = 0
    while (count := sender.send_what_fits(data[sent:])) or not kept_by_the_pump(flow):
        sent += count
        await world.comes_to_rest()
    assert sent < len(data), "the sender was not stopped"
    return sent


async def fill_as_far_as_the_pump(world: World, sender: Peer, data: bytes) -> int:
    """Send until the pump has to wait, so that an end of the stream still reaches its kernel."""
    (flow,) = world.plane.flows
    sent = 0
    while not kept_by_the_pump(flow):
        await sender.send(data[sent : sent + 32768])
        sent += 32768
        await world.comes_to_rest()
    return sent


def kept_by_the_pump(flow: OpenFlow) -> int:
    assert isinstance(flow, Flow)
    pump = flow.stage
    assert isinstance(pump, Pump)
    return max(kept_by(pump.client_end), kept_by(pump.upstream_end))


def kept_by(end: End) -> int:
    return len(end.unsent) + getattr(end, "_in_pipe", 0)


async def goes_on(sender: Peer, receiver: Peer, data: bytes, sent: int) -> bytes:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.send, data[sent:])
        heard = await receiver.receive(len(data))
    return heard  # noqa: RET504 - within the nursery it would hide what the sender raises


@BOTH_WAYS
async def test_a_receiver_that_never_reads_stops_the_sender_and_little_is_kept(
    sender: str,
    rule: PromotionRule,
) -> None:
    async with running(rule=rule, relay_buffer_bytes=BUFFER, splice_bytes=BUFFER) as world:
        talker, listener = await pair(world, sender)
        data = random.Random(3).randbytes(20_000_000)
        sent = await fill(world, talker, data)
        (flow,) = world.plane.flows
        assert 0 < kept_by_the_pump(flow) <= BUFFER
        assert await goes_on(talker, listener, data, sent) == data
        assert kept_by_the_pump(flow) == 0


@BOTH_WAYS
async def test_both_ways_full_at_once_lose_nothing(sender: str, rule: PromotionRule) -> None:
    async with running(rule=rule, relay_buffer_bytes=BUFFER, splice_bytes=BUFFER) as world:
        one, two = await pair(world, sender)
        data = random.Random(4).randbytes(20_000_000)
        sent_one = await fill(world, one, data)
        sent_two = await fill(world, two, data)
        heard: list[bytes] = []

        async def hear(peer: Peer, other: Peer, sent: int) -> None:
            heard.append(await goes_on(other, peer, data, sent))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear, one, two, sent_two)
            nursery.start_soon(hear, two, one, sent_one)
        assert heard == [data, data]


@BOTH_WAYS
async def test_the_other_way_goes_on_while_one_way_is_full(
    sender: str, rule: PromotionRule
) -> None:
    async with running(rule=rule, relay_buffer_bytes=BUFFER, splice_bytes=BUFFER) as world:
        talker, listener = await pair(world, sender)
        await fill(world, talker, bytes(20_000_000))
        for number in range(20):
            await listener.send(bytes([number]) * 100)
            assert await talker.receive(100) == bytes([number]) * 100


@BOTH_WAYS
async def test_nothing_spins_while_one_way_is_full(sender: str, rule: PromotionRule) -> None:
    async with running(rule=rule, relay_buffer_bytes=BUFFER, splice_bytes=BUFFER) as world:
        talker, _ = await pair(world, sender)
        await fill(world, talker, bytes(20_000_000))
        await world.comes_to_rest()


@BOTH_WAYS
async def test_nothing_spins_while_one_half_is_closed(sender: str, rule: PromotionRule) -> None:
    async with running(rule=rule) as world:
        talker, listener = await pair(world, sender)
        talker.half_close()
        assert await listener.receive_all() == b""
        await world.comes_to_rest()


@BOTH_WAYS
async def test_nothing_spins_while_a_full_sender_has_closed_its_half(
    sender: str, rule: PromotionRule
) -> None:
    async with running(rule=rule, relay_buffer_bytes=BUFFER, splice_bytes=BUFFER) as world:
        talker, listener = await pair(world, sender)
        sent = await fill_as_far_as_the_pump(world, talker, bytes(20_000_000))
        talker.half_close()
        await world.comes_to_rest()
        assert len(await listener.receive_all()) == sent


@BOTH_WAYS
async def test_nothing_spins_or_is_lost_when_both_have_closed_with_much_still_unsent(
    sender: str,
    rule: PromotionRule,
) -> None:
    """Both directions of the talker's socket are shut: epoll reports a hang-up for ever."""
    async with running(rule=rule, relay_buffer_bytes=BUFFER, splice_bytes=BUFFER) as world:
        talker, listener = await pair(world, sender)
        data = random.Random(5).randbytes(20_000_000)
        sent = await fill_as_far_as_the_pump(world, talker, data)
        talker.half_close()
        listener.half_close()
        assert await talker.receive_all() == b""
        await world.comes_to_rest()
        assert await listener.receive_all() == data[:sent]
        report = await world.report()
        assert report.ending == "closed"
        assert report.bytes_sent + report.bytes_received == sent


@BOTH_WAYS
async def test_nothing_spins_or_is_lost_when_a_full_sender_hangs_up(
    sender: str, rule: PromotionRule
) -> None:
    async with running(rule=rule, relay_buffer_bytes=BUFFER, splice_bytes=BUFFER) as world:
        talker, listener = await pair(world, sender)
        data = random.Random(6).randbytes(20_000_000)
        sent = await fill_as_far_as_the_pump(world, talker, data)
        talker.close()
        await world.comes_to_rest()
        assert await listener.receive_all() == data[:sent]


async def test_nothing_spins_in_a_flow_without_words(rule: PromotionRule) -> None:
    async with running(rule=rule) as world:
        await world.connected()
        await world.comes_to_rest()
        assert len(world.plane.flows) == 1
