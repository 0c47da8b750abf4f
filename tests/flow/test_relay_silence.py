"""How long silence is borne, and that traffic of either side breaks it."""

from __future__ import annotations

import pytest
from mover_rules import BY_EACH_MOVER
from plane_fixtures import Peer, running

from edgemesh.proxy.context import PromotionRule

pytestmark = [pytest.mark.root, BY_EACH_MOVER]

IDLE = 3600.0
HALF_CLOSED = 300.0


async def exchange(speaker: Peer, hearer: Peer) -> None:
    await speaker.send(b"x")
    assert await hearer.receive(1) == b"x"


async def test_a_silent_flow_is_reset_on_both_sides_after_the_idle_timeout(
    rule: PromotionRule,
) -> None:
    async with running(rule=rule) as world:
        client, endpoint = await world.connected()
        await exchange(client, endpoint)
        world.skip(IDLE)
        assert await client.receive_until_reset() == b""
        assert await endpoint.receive_until_reset() == b""
        report = await world.report()
        assert (report.ending, report.reason) == ("idle-timeout", "silent for 3600 s")
        assert report.duration >= IDLE


@pytest.mark.parametrize("upwards", [True, False], ids=["the client", "the endpoint"])
async def test_a_word_from_either_side_puts_the_idle_timeout_off(
    rule: PromotionRule, *, upwards: bool
) -> None:
    async with running(rule=rule) as world:
        client, endpoint = await world.connected()
        speaker, hearer = (client, endpoint) if upwards else (endpoint, client)
        for _ in range(3):
            world.skip(IDLE / 2)
            await world.deadlines_pass()
            await exchange(speaker, hearer)
        assert len(world.plane.flows) == 1
        world.skip(IDLE)
        assert (await world.report()).ending == "idle-timeout"


async def test_a_half_closed_flow_is_borne_less_long(rule: PromotionRule) -> None:
    async with running(rule=rule) as world:
        client, endpoint = await world.connected()
        client.half_close()
        assert await endpoint.receive_all() == b""
        world.skip(HALF_CLOSED)
        assert await client.receive_until_reset() == b""
        report = await world.report()
        assert (report.ending, report.reason) == ("idle-timeout", "silent for 300 s")


async def test_a_half_closed_flow_goes_on_while_the_other_half_talks(rule: PromotionRule) -> None:
    async with running(rule=rule) as world:
        client, endpoint = await world.connected()
        client.half_close()
        assert await endpoint.receive_all() == b""
        for _ in range(3):
            world.skip(HALF_CLOSED * 0.9)
            await exchange(endpoint, client)
            await world.deadlines_pass()
        assert len(world.plane.flows) == 1
        endpoint.close()
        assert await client.receive_all() == b""
        assert (await world.report()).ending == "closed"


async def test_a_receiver_that_never_reads_is_given_up_after_the_idle_timeout(
    rule: PromotionRule,
) -> None:
    async with running(rule=rule, relay_buffer_bytes=8192) as world:
        client, _endpoint = await world.connected(receive=4096)
        while client.send_what_fits(bytes(1_000_000)):
            await world.comes_to_rest()
        world.skip(IDLE)
        assert (await world.report()).ending == "idle-timeout"
