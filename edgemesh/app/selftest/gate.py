"""Tries the gate: flows whose bytes the kernel moves from socket to socket, as the agent has them.

What is tried is what kernels have got wrong: bytes that had come before, their order while flows
change hands, ends of stream, resets, and how much is under way to a reader that does not read.
"""

from __future__ import annotations

import hashlib
import os
import socket
import struct
from contextlib import suppress

import trio

from edgemesh.app.selftest.order import SelfTestOrder
from edgemesh.app.selftest.passing import Passing, in_time, passing_flow, stages
from edgemesh.app.selftest.problem import expect
from edgemesh.kernel.bpf.gate_maps import Gate

_EARLY = b"said before the kernel took over"
_TALK_BYTES = 2 * 1024 * 1024
_CHUNK = 65536
_SAMPLE = os.urandom(_CHUNK)
# After so many bytes the flow changes hands.
_STRETCH_BYTES = 150_000
_STALLED_SECONDS = 0.05
# What sockets with small buffers keep of a direction at most, and how often the backlog at most:
# the one that the gate sends from has a buffer of several.
_KEPT_BYTES = 1024 * 1024
_KEPT_BACKLOGS = 16


def attempt(order: SelfTestOrder) -> None:
    """Let flows pass the gate.

    Raises:
        NotWorkingError: something does not do what it should.
        OSError: something does not work at all.
    """
    with Gate(order.loaded.map, order.bpf.backlog_bytes) as gate:
        trio.run(_try_all, order, gate)


async def _try_all(order: SelfTestOrder, gate: Gate) -> None:
    async with stages(order, gate) as through:
        for trial in (_talk, _reset, _stall):
            async with passing_flow(through) as passing:
                with in_time(through):
                    await trial(passing, order.bpf.backlog_bytes)


async def _talk(passing: Passing, _backlog_bytes: int) -> None:
    """Much in both directions, half closed by the client at the end."""
    client, endpoint = passing.client, passing.endpoint
    await client.send_all(_EARLY)
    passing.begin()
    heard = await endpoint.receive_some(_CHUNK)
    expect(heard == _EARLY, "bytes that came before the kernel took over arrive otherwise")
    await endpoint.send_all(_EARLY)
    heard = await client.receive_some(_CHUNK)
    expect(heard == _EARLY, "an answer arrives otherwise than it was sent")
    expect(passing.redirected() > 0, "the kernel moves nothing")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_all, client)
        nursery.start_soon(_send_all, endpoint)
        nursery.start_soon(_receive_all, client, passing)
        nursery.start_soon(_receive_all, endpoint, passing)
    await client.send_eof()
    expect(not await endpoint.receive_some(1), "more arrives than was sent")
    await endpoint.send_all(_EARLY)
    await endpoint.send_eof()
    expect(await client.receive_some(_CHUNK) == _EARLY, "an end of stream ends both directions")
    expect(not await client.receive_some(1), "more arrives than was sent")


async def _reset(passing: Passing, _backlog_bytes: int) -> None:
    passing.begin()
    await passing.client.send_all(_EARLY)
    await passing.endpoint.receive_some(_CHUNK)
    passing.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await passing.client.aclose()
    with suppress(trio.BrokenResourceError):
        expect(bool(await passing.endpoint.receive_some(1)), "a reset arrives as an end of stream")


async def _stall(passing: Passing, backlog_bytes: int) -> None:
    """A reader that does not read, and then reads everything."""
    passing.keep_little(_CHUNK)
    passing.begin()
    most = _KEPT_BYTES + backlog_bytes * _KEPT_BACKLOGS
    sent, sums = 0, hashlib.sha256()
    sock = passing.client.socket
    while sent < most:
        with trio.move_on_after(_STALLED_SECONDS) as stalled:
            count = await sock.send(_SAMPLE)
        if stalled.cancelled_caught:
            break
        sums.update(_SAMPLE[:count])
        sent += count
    expect(sent < most, "a reader that does not read is no reason to stop for its sender")
    await passing.client.send_eof()
    received = hashlib.sha256()
    while heard := await passing.endpoint.receive_some(_CHUNK):
        received.update(heard)
    expect(sums.digest() == received.digest(), "bytes that had to wait arrive otherwise")


async def _send_all(stream: trio.SocketStream) -> None:
    for _ in range(_TALK_BYTES // _CHUNK):
        await stream.send_all(_SAMPLE)


async def _receive_all(stream: trio.SocketStream, passing: Passing) -> None:
    sums = hashlib.sha256()
    count = stretch = 0
    while count < _TALK_BYTES:
        heard = await stream.receive_some(_CHUNK)
        expect(bool(heard), "a direction ends too early")
        sums.update(heard)
        count += len(heard)
        stretch += len(heard)
        if stretch > _STRETCH_BYTES:
            stretch = 0
            passing.change_hands()
    expected = hashlib.sha256(_SAMPLE * (_TALK_BYTES // _CHUNK))
    expect(sums.digest() == expected.digest(), "bytes arrive otherwise than they were sent")
