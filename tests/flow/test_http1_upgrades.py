"""HTTP/1 connections that become something else (RFC 9110 section 7.8), or must not."""

from __future__ import annotations

import pytest
import trio
from http1_peers import GET, asked, call_http, called_http, head_of
from plane_fixtures import running

UPGRADE = b"GET /chat HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
UNFINISHED = UPGRADE.replace(b"GET", b"POST").replace(b"Host", b"Content-Length: 10\r\nHost")


async def test_after_an_upgrade_bytes_go_both_ways_and_each_closes_by_itself() -> None:
    async with running() as world:
        server = world.serve()
        client, peer = await called_http(world, server, UPGRADE)
        await peer.send(SWITCHED + b"\x81\x02hi")
        assert await client.receive(len(SWITCHED) + 4) == SWITCHED + b"\x81\x02hi"
        await client.send(b"\x81\x85anything")
        assert await peer.receive(10) == b"\x81\x85anything"
        client.half_close()
        assert await peer.receive_all() == b""
        await peer.send(b"last words")
        peer.close()
        assert await client.receive_all() == b"last words"
        report = await world.report()
        assert (report.application_protocol, report.path) == ("websocket", "http")


async def test_bytes_that_follow_an_upgrade_too_early_are_not_lost() -> None:
    async with running() as world:
        server = world.serve()
        client = await call_http(world, server)
        await client.send(UPGRADE + b"early")
        peer = await asked(server, UPGRADE)
        await peer.send(SWITCHED)
        assert await client.receive(len(SWITCHED)) == SWITCHED
        assert await peer.receive(5) == b"early"


@pytest.mark.parametrize("request_", [GET, UNFINISHED], ids=["unasked", "before its end"])
async def test_an_endpoint_that_switches_protocols_when_it_may_not_has_failed(
    request_: bytes,
) -> None:
    async with running() as world:
        server = world.serve()
        client, peer = await called_http(world, server, request_)
        await peer.send(SWITCHED)
        status, fields = await head_of(client)
        assert (status, fields["x-edgemesh-reason"]) == (502, "endpoint-failed")


async def test_what_is_carried_after_an_upgrade_is_spliced_if_it_is_much() -> None:
    async with running() as world:
        server = world.serve()
        client, peer = await called_http(world, server, UPGRADE)
        await peer.send(SWITCHED)
        assert await client.receive(len(SWITCHED)) == SWITCHED
        much = bytes(4_000_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.send, much)
            assert await client.receive(len(much)) == much
        client.close()
        peer.close()
        report = await world.report()
        assert (report.path, report.movers) == ("http", ("relay", "splice"))
