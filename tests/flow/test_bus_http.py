"""HTTP/1.1 on trio's streams: bodies stream both ways, and nothing is sent twice."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import trio
import trio.testing

from edgemesh.bus.http.client import exchange
from edgemesh.bus.http.messages import (
    HttpError,
    Request,
    Response,
    end_to_end,
    text_response,
    whole_body,
)
from edgemesh.bus.http.server import Handler, Respond, ServerLimits, serve_requests

LIMITS = ServerLimits(head_bytes=1000, idle_seconds=60, silence_seconds=10)
HOST = ("Host", "edge")


async def echo(request: Request, respond: Respond) -> None:
    fields = tuple((name, value) for name, value in request.fields if name.startswith("X-"))
    await respond(Response(201, fields, request.body, request.length))


async def collected(body: AsyncGenerator[bytes, None]) -> bytes:
    return b"".join([part async for part in body])


async def answer(handler: Handler, request: Request) -> tuple[Response, bytes]:
    client, server = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_requests, server, handler, LIMITS)
        async with exchange(client, request, max_head_bytes=1000, seconds=10) as response:
            body = await collected(response.body)
        await client.aclose()
    return response, body


async def said(handler: Handler, *sent: bytes) -> bytes:
    """What a client hears that sends these bytes and then waits."""
    client, server = trio.testing.memory_stream_pair()

    async def serve() -> None:
        await serve_requests(server, handler, LIMITS)
        await server.aclose()

    heard = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        for part in sent:
            await client.send_all(part)
        async for part in client:
            heard += part
    return heard


async def test_status_fields_and_body_come_back_as_they_are() -> None:
    fields = (HOST, ("X-Edge", "a"), ("X-Edge", "b"))
    request = Request("POST", "/a?b=c", fields, whole_body(b"hello"), 5)
    response, body = await answer(echo, request)
    assert (response.status, response.length, body) == (201, 5, b"hello")
    assert [value for name, value in response.fields if name == "X-Edge"] == ["a", "b"]


async def test_a_body_of_unknown_length_is_streamed_both_ways() -> None:
    """Each part is sent only after the one before has come back."""
    returned = trio.Event()

    async def parts() -> AsyncGenerator[bytes, None]:
        yield b"one"
        await returned.wait()
        yield b"two"

    client, server = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_requests, server, echo, LIMITS)
        request = Request("POST", "/", (HOST,), parts(), None)
        async with exchange(client, request, max_head_bytes=1000, seconds=10) as response:
            assert response.length is None
            assert await anext(response.body) == b"one"
            returned.set()
            assert await anext(response.body) == b"two"
            with pytest.raises(StopAsyncIteration):
                await anext(response.body)
        await client.aclose()


async def test_a_connection_serves_one_request_after_the_other() -> None:
    one = b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n"
    assert (await said(echo, one + one, last)).count(b"HTTP/1.1 201 ") == 3


async def test_an_answer_to_head_has_a_length_and_no_body() -> None:
    async def respond_with_text(_request: Request, respond: Respond) -> None:
        await respond(text_response(404, "no rule"))

    response, body = await answer(respond_with_text, Request("HEAD", "/", (HOST,)))
    assert (response.status, body) == (404, b"")
    assert ("Content-Length", "8") in response.fields


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_that_can_have_no_body_announces_none(status: int) -> None:
    async def respond_empty(_request: Request, respond: Respond) -> None:
        await respond(Response(status, ()))

    response, body = await answer(respond_empty, Request("GET", "/", (HOST,)))
    assert (response.status, body) == (status, b"")
    assert not [name for name, _ in response.fields if name.lower() == "content-length"]


async def test_who_waits_for_leave_to_send_a_body_gets_it() -> None:
    async def take_all(request: Request, respond: Respond) -> None:
        await respond(text_response(200, (await collected(request.body)).decode()))

    client, server = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_requests, server, take_all, LIMITS)
        head = b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        await client.send_all(head)
        assert await client.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send_all(b"ok")
        assert bytes(await client.receive_some()).startswith(b"HTTP/1.1 200 OK\r\n")
        await client.aclose()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: e\r\nX: " + b"x" * 2000, b"431"),
        (b"POST / HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
    ],
)
async def test_what_is_no_request_is_told_so(sent: bytes, status: bytes) -> None:
    heard = await said(echo, sent)
    assert heard.startswith(b"HTTP/1.1 " + status)
    assert heard.count(b"HTTP/1.1") == 1


async def test_a_body_that_was_not_read_ends_the_connection() -> None:
    async def refuse(_request: Request, respond: Respond) -> None:
        await respond(text_response(413, "too much"))

    head = b"POST / HTTP/1.1\r\nHost: e\r\nContent-Length: 100000\r\n\r\n"
    assert (await said(refuse, head, b"x")).count(b"HTTP/1.1 413") == 1


async def test_an_answer_that_breaks_off_is_no_answer() -> None:
    client, server = trio.testing.memory_stream_pair()
    await server.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
    await server.send_eof()
    with pytest.raises(HttpError):
        async with exchange(
            client, Request("GET", "/", (HOST,)), max_head_bytes=1000, seconds=10
        ) as response:
            await collected(response.body)


@pytest.mark.parametrize("sent", [b"", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2000])
async def test_what_is_no_answer_is_told_so(sent: bytes) -> None:
    client, server = trio.testing.memory_stream_pair()
    if sent:
        await server.send_all(sent)
    await server.send_eof()
    with pytest.raises(HttpError):
        async with exchange(client, Request("GET", "/", (HOST,)), max_head_bytes=1000, seconds=10):
            pass


async def test_silence_ends_a_request(autojump_clock: trio.testing.MockClock) -> None:
    client, _server = trio.testing.memory_stream_pair()
    began = trio.current_time()
    with pytest.raises(HttpError, match="in time"):
        async with exchange(client, Request("GET", "/", (HOST,)), max_head_bytes=1000, seconds=10):
            pass
    assert trio.current_time() - began == 10
    assert autojump_clock.rate == 0


async def test_an_early_answer_is_heard_while_the_body_is_still_being_sent() -> None:
    async def endless() -> AsyncGenerator[bytes, None]:
        while True:
            await trio.lowlevel.checkpoint()
            yield b"x" * 1000

    async def refuse(_request: Request, respond: Respond) -> None:
        await respond(text_response(413, "too much"))

    response, body = await answer(refuse, Request("POST", "/", (HOST,), endless(), None))
    assert (response.status, body) == (413, b"too much\n")


def test_what_is_for_one_connection_is_not_passed_on() -> None:
    fields = (
        ("Connection", "close, X-Own"),
        ("X-Own", "1"),
        ("Keep-Alive", "5"),
        ("Transfer-Encoding", "chunked"),
        ("X-Other", "2"),
    )
    assert end_to_end(fields) == (("X-Other", "2"),)
