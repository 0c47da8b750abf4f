"""Streams of links as trio's, and applications behind them, with both ends in one reactor."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator

import pytest
import trio
from link_fixtures import a_reactor
from virtual_fixtures import joined

from edgemesh.bus.link.trio_stream import LinkStream
from edgemesh.bus.router.streams import ServicebusStreams
from edgemesh.model.streams import CLOUD
from edgemesh.reactor.reactor import Reactor
from edgemesh.wire.link.opening import SERVICEBUS, Opening
from edgemesh.wire.message import ResourcePath


@pytest.fixture
async def reactor() -> AsyncIterator[Reactor]:
    async with a_reactor() as made:
        yield made


def pair(reactor: Reactor, window: int = 65536) -> tuple[LinkStream, LinkStream]:
    near, far = joined(reactor, window)
    return LinkStream(reactor, near), LinkStream(reactor, far)


async def read_all(stream: LinkStream) -> bytes:
    return b"".join([bytes(part) async for part in stream])


async def test_bytes_pass_both_ways_beyond_the_window_and_ends_by_themselves(
    reactor: Reactor,
) -> None:
    near, far = pair(reactor, window=1000)
    there, back = os.urandom(100_000), os.urandom(50_000)
    heard: dict[str, bytes] = {}

    async def talk(name: str, stream: LinkStream, said: bytes) -> None:
        await stream.send_all(said)
        await stream.send_eof()

    async def hear(name: str, stream: LinkStream) -> None:
        heard[name] = await read_all(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk, "near", near, there)
        nursery.start_soon(talk, "far", far, back)
        nursery.start_soon(hear, "near", near)
        nursery.start_soon(hear, "far", far)
    assert heard == {"near": back, "far": there}
    await near.aclose()
    await far.aclose()


async def test_a_reset_breaks_who_reads_and_who_writes(reactor: Reactor) -> None:
    near, far = pair(reactor)
    await far.send_all(b"not read")
    await near.receive_some(1)
    await near.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await far.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await far.send_all(b"x" * 1_000_000)
    await far.aclose()


async def test_closing_wakes_who_waits(reactor: Reactor) -> None:
    near, far = pair(reactor)

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await near.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await near.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")
    await far.aclose()


async def test_a_stream_that_is_refused_says_why(reactor: Reactor) -> None:
    near, far = joined(reactor, opened=False)
    stream = LinkStream(reactor, near)
    reactor.call(stream, lambda: far.refuse(errno.EACCES, "no"))
    with pytest.raises(OSError, match="no") as refused:
        await stream.connected()
    assert refused.value.errno == errno.EACCES
    await stream.aclose()


async def test_a_stream_is_connected_once_it_is_accepted(reactor: Reactor) -> None:
    near, far = joined(reactor, opened=False)
    stream = LinkStream(reactor, near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.connected)
        await trio.testing.wait_all_tasks_blocked()
        reactor.call(stream, far.accept)
    await stream.aclose()
    reactor.call(stream, far.close)


def opening(port: int, source: str = CLOUD) -> Opening:
    return Opening(source, "node", ResourcePath("null", SERVICEBUS, str(port)), port)


async def led(reactor: Reactor, wanted: Opening, ports: set[int]) -> LinkStream:
    """What the cloud has of a stream that a node is asked for, once it is connected."""
    near, far = joined(reactor, opened=False)
    streams = ServicebusStreams(reactor, lambda: ports, 60.0, 10)
    stream = LinkStream(reactor, near)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(streams.run)
        reactor.call(stream, lambda: streams.take(far, wanted))
        try:
            await stream.connected()
            await stream.send_all(b"hello")
            await stream.send_eof()
            assert await read_all(stream) == b"hello"
        finally:
            await stream.aclose()
            nursery.cancel_scope.cancel()
    return stream


async def test_an_application_of_the_node_is_reached(reactor: Reactor) -> None:
    async def echo(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo, listeners)
        await led(reactor, opening(port), {port})
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("wanted", "ports", "problem", "text"),
    [
        (opening(1), {2}, errno.EACCES, "no RuleEndpoint names port 1"),
        (opening(1, "node-b"), {1}, errno.EACCES, "only the cloud"),
        (opening(1), {1}, errno.ECONNREFUSED, "port 1: "),
    ],
)
async def test_what_is_not_led_on_says_why(
    reactor: Reactor, wanted: Opening, ports: set[int], problem: int, text: str
) -> None:
    def is_it(error: OSError) -> bool:
        return error.errno == problem and text in str(error)

    with pytest.RaisesGroup(pytest.RaisesExc(OSError, check=is_it)):
        await led(reactor, wanted, ports)
