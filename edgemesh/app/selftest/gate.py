"""Tries the gate: flows whose bytes the kernel moves from socket to socket, as the agent has them.

The data plane's own stages carry them. What is tried is what kernels have got wrong: bytes that
had come before, their order while flows change hands, ends of stream, resets, and how much is
under way to a reader that does not read.
"""

from __future__ import annotations

import hashlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio

from edgemesh.app.selftest.order import SelfTestOrder
from edgemesh.app.selftest.problem import expect
from edgemesh.kernel.bpf.gate_maps import Gate
from edgemesh.kernel.bpf.loader import Loaded
from edgemesh.kernel.bpf.pins import CURRENT
from edgemesh.kernel.sockets import dialling_socket
from edgemesh.model.flows import Ending, FlowReport, Mover
from edgemesh.policy.promotion import Behaviour
from edgemesh.policy.verdict import Verdict
from edgemesh.proxy.context import Context
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.carried import Carried
from edgemesh.proxy.forward.movers import Movers
from edgemesh.proxy.forward.relay import resume_relay
from edgemesh.proxy.forward.sockmap import Sockmap

_PATIENCE_SECONDS = 2.0
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


def try_gate(order: SelfTestOrder) -> None:
    """Let flows pass the gate.

    Raises:
        NotWorkingError: something does not do what it should.
        OSError: something does not work at all.
    """
    loaded = Loaded(order.bpf.directory / CURRENT, dict.fromkeys(order.groups, ""))
    with Gate(loaded.map, order.bpf.backlog_bytes) as gate:
        trio.run(_try_all, order, gate)


async def _try_all(order: SelfTestOrder, gate: Gate) -> None:
    context = Context(order.proxy, 0, Movers(resume_relay), _drop)
    context.promotion = _AtOnce()
    sockmap = Sockmap(context, gate)
    with context.reactor:
        async with trio.open_nursery() as nursery:
            await nursery.start(context.reactor.run)
            sockmap.start()
            for trial in (_talk, _reset, _stall):
                async with _passing(sockmap, context) as passing:
                    with trio.move_on_after(_PATIENCE_SECONDS) as patience:
                        await trial(passing, order.bpf.backlog_bytes)
                    expect(not patience.cancelled_caught, "bytes stay on the way")
            nursery.cancel_scope.cancel()


class _Passing:
    """A flow that passes the gate, and the two programs that talk through it."""

    def __init__(
        self,
        sockmap: Sockmap,
        flow: Flow,
        client: trio.SocketStream,
        endpoint: trio.SocketStream,
    ) -> None:
        self.flow = flow
        self.client = client
        self.endpoint = endpoint
        self._sockmap = sockmap

    def keep_little(self) -> None:
        """Have the kernel keep little for those who do not read yet; else it keeps megabytes."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CHUNK)
        self.endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CHUNK)
        self.flow.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CHUNK)

    def begin(self) -> None:
        """Give the flow to the gate."""
        self._call(lambda: self._sockmap.begin(self.flow, Carried(self.flow.started)))

    def change_hands(self) -> None:
        """Have the relay go on; it gives the flow back when something passes."""
        member = self._sockmap.members.get(self.flow)
        if member is not None and member.stay is not None:
            self._call(member.stay.leave)

    def redirected(self) -> int:
        """Bytes that the kernel has moved."""
        member = self._sockmap.members.get(self.flow)
        if member is None:
            return 0
        return member.client.way.redirected + member.endpoint.way.redirected

    def _call(self, what: Callable[[], None]) -> None:
        self.flow.context.reactor.call(self._sockmap, what)


async def _talk(passing: _Passing, _backlog_bytes: int) -> None:
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


async def _reset(passing: _Passing, _backlog_bytes: int) -> None:
    passing.begin()
    await passing.client.send_all(_EARLY)
    await passing.endpoint.receive_some(_CHUNK)
    passing.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await passing.client.aclose()
    with suppress(trio.BrokenResourceError):
        expect(bool(await passing.endpoint.receive_some(1)), "a reset arrives as an end of stream")


async def _stall(passing: _Passing, backlog_bytes: int) -> None:
    """A reader that does not read, and then reads everything."""
    passing.keep_little()
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


async def _receive_all(stream: trio.SocketStream, passing: _Passing) -> None:
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


class _AtOnce:
    """The rule that gives flows to the gate as soon as something passes."""

    def decide(self, _behaviour: Behaviour, mover: Mover, suitable: AbstractSet[Mover]) -> Mover:
        return Mover.SOCKMAP if Mover.SOCKMAP in suitable else mover

    def notice_from(self, *_: object) -> int:
        return 0


@asynccontextmanager
async def _passing(sockmap: Sockmap, context: Context) -> AsyncIterator[_Passing]:
    """A flow between two connections of this process; it is over at the end."""
    client, ours = _connected()
    endpoint, theirs = _connected()
    flow = Flow(context, ours, ours.getpeername(), theirs.getpeername())
    flow.verdict = Verdict(None)
    flow.upstream = theirs
    try:
        async with _stream(client) as caller, _stream(endpoint) as called:
            yield _Passing(sockmap, flow, caller, called)
    finally:
        context.reactor.call(sockmap, partial(flow.finish, Ending.CLOSED))


def _connected() -> tuple[socket.socket, socket.socket]:
    """A program's end of a connection, and the agent's; neither blocks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        ours = dialling_socket(address[0], socket.SOCK_STREAM, 0)
        ours.settimeout(_PATIENCE_SECONDS)
        ours.connect(address)
        theirs, _ = listener.accept()
    for end in (theirs, ours):
        end.setblocking(False)
    return theirs, ours


def _stream(sock: socket.socket) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))


def _drop(_report: FlowReport) -> None:
    """Nobody reads of these flows."""
