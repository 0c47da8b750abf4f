"""HTTP/1 through the data plane: what one side says arrives at the other, byte for byte."""

from __future__ import annotations

import pytest
from http1_peers import CLOSING, GET, OK, POST, asked, call_http, called_http, exchanged
from plane_fixtures import running

CHUNKED_POST = (
    b"POST /up HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4\r\nwiki\r\n5;x=y\r\npedia\r\n0\r\nX-Sum: 9\r\n\r\n"
)
CHUNKED_OK = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n0\r\nX-Trailer: yes\r\n\r\n"
)


async def test_a_request_and_its_response_arrive_as_they_were_sent() -> None:
    async with running() as world:
        server = world.serve()
        await exchanged(await call_http(world, server), server)


@pytest.mark.parametrize("request_", [POST, CHUNKED_POST])
@pytest.mark.parametrize("answer", [OK, CHUNKED_OK])
async def test_bodies_go_through_however_they_are_framed(request_: bytes, answer: bytes) -> None:
    async with running() as world:
        server = world.serve()
        client = await call_http(world, server)
        peer = await exchanged(client, server, request_, answer)
        await client.send(request_)
        assert await peer.receive(len(request_)) == request_


async def test_bytes_may_come_one_by_one() -> None:
    async with running() as world:
        server = world.serve()
        client = await call_http(world, server)
        for byte in CHUNKED_POST:
            await client.send(bytes([byte]))
        peer = await asked(server, CHUNKED_POST)
        for byte in CHUNKED_OK:
            await peer.send(bytes([byte]))
        assert await client.receive(len(CHUNKED_OK)) == CHUNKED_OK


async def test_the_requests_of_one_connection_take_turns_among_endpoints() -> None:
    async with running() as world:
        servers = [world.serve(), world.serve()]
        client = await call_http(world, *servers)
        peers = [await exchanged(client, server) for server in servers]
        for peer in peers * 2:
            await client.send(GET)
            assert await peer.receive(len(GET)) == GET
            await peer.send(OK)
            assert await client.receive(len(OK)) == OK


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with running() as world:
        servers = [world.serve(), world.serve()]
        client = await call_http(world, *servers)
        await client.send(GET + POST + GET)
        first = await asked(servers[0], GET)
        await first.send(OK)
        second = await asked(servers[1], POST)
        await second.send(CHUNKED_OK)
        assert await first.receive(len(GET)) == GET
        await first.send(OK)
        everything = OK + CHUNKED_OK + OK
        assert await client.receive(len(everything)) == everything


async def test_a_client_that_waits_for_100_gets_it_and_then_sends_its_body() -> None:
    head = b"PUT /big HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    async with running() as world:
        server = world.serve()
        client, peer = await called_http(world, server, head)
        go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
        await peer.send(go_on)
        assert await client.receive(len(go_on)) == go_on
        await client.send(b"body")
        assert await peer.receive(4) == b"body"
        await peer.send(OK)
        assert await client.receive(len(OK)) == OK


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: web\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
    ],
)
async def test_what_has_no_body_is_over_with_its_head(request_: bytes, answer: bytes) -> None:
    async with running() as world:
        server = world.serve()
        client = await call_http(world, server)
        peer = await exchanged(client, server, request_, answer)
        await client.send(GET)
        assert await peer.receive(len(GET)) == GET


async def test_a_body_that_ends_with_the_connection_ends_the_clients_too() -> None:
    answer = b"HTTP/1.0 200 OK\r\n\r\nas long as it takes"
    async with running() as world:
        server = world.serve()
        client, peer = await called_http(world, server)
        await peer.send(answer)
        peer.close()
        assert await client.receive_all() == answer


async def test_a_client_that_asks_to_close_is_closed_after_its_answer() -> None:
    request = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"
    async with running() as world:
        server = world.serve()
        client, peer = await called_http(world, server, request)
        await peer.send(OK)
        assert await client.receive_all() == OK
        assert (await world.report()).ending == "closed"


async def test_an_endpoint_that_closes_after_its_answer_closes_the_client() -> None:
    async with running() as world:
        server = world.serve()
        client, peer = await called_http(world, server)
        await peer.send(CLOSING)
        assert await client.receive_all() == CLOSING
        assert await peer.receive_all() == b""


async def test_a_half_closed_client_gets_its_answer() -> None:
    async with running() as world:
        server = world.serve()
        client = await call_http(world, server)
        await client.send(GET)
        client.half_close()
        peer = await asked(server)
        await peer.send(OK)
        assert await client.receive_all() == OK


@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_client_that_speaks_http2_where_http_is_declared_is_served_too(pieces: int) -> None:
    async with running() as world:
        server = world.serve()
        client = await call_http(world, server)
        # PREFACE, SETTINGS, and HEADERS of a GET: RFC 9113 sections 3.4, 6.5 and 6.2.
        words = (
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            b"\0\0\0\4\0\0\0\0\0"
            b"\0\0\x06\1\5\0\0\0\1\x82\x86\x84\x41\x01w"
        )
        for start in range(0, len(words), -(-len(words) // pieces)):
            await client.send(words[start : start - (-len(words) // pieces)])
            await world.comes_to_rest()
        peer = await server.accept()
        assert await peer.receive(24) == words[:24]
        client.reset()
        report = await world.report()
        assert (report.application_protocol, report.path) == ("http2", "http")
