"""A reset by one side reaches the other as a reset, in every phase of a flow."""

from __future__ import annotations

import errno
import socket

import pytest
from mover_rules import BY_EACH_MOVER
from plane_fixtures import Peer, World, running

from edgemesh.proxy.context import PromotionRule

pytestmark = [pytest.mark.root, BY_EACH_MOVER]

SMALL = 4096
PLENTY = bytes(8_000_000)
BOTH_SIDES = pytest.mark.parametrize("by", ["client", "endpoint"])


async def pair(world: World, by: str) -> tuple[Peer, Peer]:
    """Who resets, and who is to notice."""
    client, endpoint = await world.connected(receive=SMALL)
    return (client, endpoint) if by == "client" else (endpoint, client)


@BOTH_SIDES
async def test_before_the_first_byte(by: str, rule: PromotionRule) -> None:
    async with running(rule=rule) as world:
        leaver, stayer = await pair(world, by)
        leaver.reset()
        assert await stayer.receive_until_reset() == b""
        report = await world.report()
        assert report.ending == f"{by}-reset"
        assert report.reason == "Connection reset by peer"


@BOTH_SIDES
async def test_between_messages(by: str, rule: PromotionRule) -> None:
    async with running(rule=rule) as world:
        leaver, stayer = await pair(world, by)
        await leaver.send(b"to and")
        assert await stayer.receive(6) == b"to and"
        await stayer.send(b"fro")
        assert await leaver.receive(3) == b"fro"
        leaver.reset()
        assert await stayer.receive_until_reset() == b""
        assert (await world.report()).ending == f"{by}-reset"


@BOTH_SIDES
async def test_what_was_said_right_before_it_arrives_first(by: str, rule: PromotionRule) -> None:
    async with running(rule=rule) as world:
        leaver, stayer = await pair(world, by)
        await leaver.send(b"last words")
        leaver.reset()
        assert await stayer.receive_until_reset() == b"last words"
        report = await world.report()
        assert report.bytes_sent + report.bytes_received == len(b"last words")


@BOTH_SIDES
async def test_what_was_said_before_it_arrives_though_the_other_side_was_just_talking(
    by: str,
    rule: PromotionRule,
) -> None:
    """The relay notices by its own write, which fails, before it comes to read."""
    async with running(rule=rule) as world:
        leaver, stayer = await pair(world, by)
        await leaver.send(b"hello")
        assert await stayer.receive(5) == b"hello"
        # All of it is there when the reactor has its next turn: no await in between.
        stayer.raw.send(b"are you listening?")
        leaver.raw.send(b"413 too large")
        leaver.reset()
        assert await stayer.receive_until_reset() == b"413 too large"
        assert (await world.report()).ending == f"{by}-reset"


@BOTH_SIDES
async def test_what_was_said_before_it_arrives_though_the_other_side_was_just_closing(
    by: str,
    rule: PromotionRule,
) -> None:
    async with running(rule=rule) as world:
        leaver, stayer = await pair(world, by)
        await leaver.send(b"hello")
        assert await stayer.receive(5) == b"hello"
        stayer.half_close()
        leaver.raw.send(b"408 too late")
        leaver.reset()
        assert await stayer.receive_until_reset() == b"408 too late"
        assert (await world.report()).ending == f"{by}-reset"


@BOTH_SIDES
async def test_after_the_other_side_has_closed_its_half(by: str, rule: PromotionRule) -> None:
    async with running(rule=rule) as world:
        leaver, stayer = await pair(world, by)
        stayer.half_close()
        assert await leaver.receive_all() == b""
        leaver.reset()
        assert await stayer.receive_until_reset() == b""
        assert (await world.report()).ending == f"{by}-reset"


@BOTH_SIDES
async def test_after_the_side_that_resets_has_closed_its_half(by: str, rule: PromotionRule) -> None:
    """Its kernel answers what still comes with RST: it has closed, not only shut its half.

    After end-of-stream Linux tells a reset as EPIPE (tcp_reset, TCP_CLOSE_WAIT).
    """
    async with running(rule=rule) as world:
        leaver, stayer = await pair(world, by)
        leaver.close()
        assert await stayer.receive_all() == b""
        await stayer.send(b"anybody there?")
        assert (await world.report()).ending == f"{by}-reset"
        assert stayer.raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EPIPE


@BOTH_SIDES
async def test_while_it_sends_more_than_the_other_side_takes(by: str, rule: PromotionRule) -> None:
    async with running(rule=rule) as world:
        leaver, stayer = await pair(world, by)
        while leaver.send_what_fits(PLENTY):
            await world.comes_to_rest()
        leaver.reset()
        report = await world.report()
        assert report.ending == f"{by}-reset"
        received = await stayer.receive_until_reset()
        assert received == PLENTY[: len(received)]


@BOTH_SIDES
async def test_while_it_takes_less_than_the_other_side_sends(by: str, rule: PromotionRule) -> None:
    async with running(rule=rule) as world:
        leaver, stayer = await pair(world, by)
        while stayer.send_what_fits(PLENTY):
            await world.comes_to_rest()
        leaver.reset()
        assert await stayer.receive_until_reset() == b""
        assert (await world.report()).ending == f"{by}-reset"


async def test_by_the_client_while_the_endpoint_is_dialled(rule: PromotionRule) -> None:
    # The kernel may have to repeat the SYN more than once before there is room for it.
    async with running(rule=rule, connect_timeout_seconds=60.0) as world:
        server = world.serve(backlog=0)
        world.service(server.endpoint)
        full = [await world.call(port=server.endpoint.port)]
        client = await world.call()
        await world.until(lambda: world.plane.flows)
        client.reset()
        await world.comes_to_rest()
        # Room for the next one, whose SYN the kernel repeats after seconds.
        await server.accept()
        endpoint = await server.accept()
        assert await endpoint.receive_until_reset() == b""
        assert (await world.report()).ending == "client-reset"
        assert full


async def test_by_the_client_while_its_protocol_is_peeked_at(rule: PromotionRule) -> None:
    async with running(rule=rule, peek="always") as world:
        server = world.serve()
        world.service(server.endpoint)
        client = await world.call()
        await client.send(b"GET / HT")
        await world.comes_to_rest()
        client.reset()
        endpoint = await server.accept()
        assert await endpoint.receive_until_reset() == b"GET / HT"
        assert (await world.report()).ending == "client-reset"
