"""Streams to applications behind a node's servicebus: opened in the cloud, led on at the node."""

from __future__ import annotations

import errno
from collections.abc import Callable
from collections.abc import Set as AbstractSet

import trio

from edgemesh.bus.link.links import Links
from edgemesh.bus.link.trio_stream import LinkStream
from edgemesh.bus.router.nodes import NodeAwayError, NodeSilentError, NotReachedError
from edgemesh.model.streams import CLOUD
from edgemesh.reactor.reactor import Reactor
from edgemesh.reactor.virtual import VirtualSocket
from edgemesh.wire.link.opening import SERVICEBUS, Opening
from edgemesh.wire.message import NO_NAMESPACE, ResourcePath

_LOCALHOST = "127.0.0.1"
_READ_BYTES = 65536


async def open_servicebus(
    links: Links, reactor: Reactor, node: str, port: int, seconds: float
) -> trio.abc.Stream | None:
    """A stream to an application at a node; None where the node has no link here.

    Raises:
        NotReachedError: the node refuses, saying why.
        NodeAwayError: its link is lost.
        NodeSilentError: it does not say anything in time.

    Ownership: the caller closes the stream.
    """
    resource = ResourcePath(NO_NAMESPACE, SERVICEBUS, str(port))
    sock = links.open(Opening(CLOUD, node, resource, port))
    if sock is None:
        return None
    stream = LinkStream(reactor, sock)
    connected = False
    try:
        with trio.move_on_after(seconds):
            await stream.connected()
            connected = True
    except OSError as error:
        refused = error.errno in {errno.ECONNREFUSED, errno.EACCES, errno.EAGAIN}
        kind = NotReachedError if refused else NodeAwayError
        raise kind(f"node {node}: {error.strerror}") from error
    finally:
        if not connected:
            await trio.aclose_forcefully(stream)
    if not connected:
        raise NodeSilentError(f"node {node} did not take a stream in {seconds:g} s")
    return stream


class ServicebusStreams:
    """The node's side: takes streams of the cloud, and leads them to applications of this node."""

    def __init__(
        self, reactor: Reactor, ports: Callable[[], AbstractSet[int]], seconds: float, limit: int
    ) -> None:
        """Take nothing yet.

        Args:
            reactor: of the links.
            ports: those that may be called, at present.
            seconds: that connecting to one may take.
            limit: streams that wait to be led on; more are refused.
        """
        self._reactor = reactor
        self._ports = ports
        self._seconds = seconds
        self._send, self._taken = trio.open_memory_channel[tuple[VirtualSocket, int]](limit)

    def take(self, sock: VirtualSocket, opening: Opening) -> None:
        """Take or refuse a stream; called within the reactor's turn."""
        if opening.source != CLOUD:
            sock.refuse(errno.EACCES, "only the cloud asks the servicebus")
        elif opening.port not in self._ports():
            reason = f"no RuleEndpoint names port {opening.port} of this node"
            sock.refuse(errno.EACCES, reason)
        else:
            try:
                self._send.send_nowait((sock, opening.port))
            except trio.WouldBlock:
                sock.refuse(errno.EAGAIN, "too many calls wait at this node")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Lead streams on until cancelled; started at once."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            async for sock, port in self._taken:
                nursery.start_soon(self._lead, sock, port)

    async def _lead(self, sock: VirtualSocket, port: int) -> None:
        near: trio.SocketStream | None = None
        problem = "no connection in time"
        try:
            with trio.move_on_after(self._seconds):
                near = await trio.open_tcp_stream(_LOCALHOST, port)
        except OSError as error:
            problem = error.strerror or str(error)
        if near is None:
            reason = f"port {port}: {problem}"
            self._reactor.call(_Nobody(), lambda: sock.refuse(errno.ECONNREFUSED, reason))
            return
        self._reactor.call(_Nobody(), sock.accept)
        async with near, LinkStream(self._reactor, sock) as far, trio.open_nursery() as nursery:
            nursery.start_soon(_pump, far, near)
            nursery.start_soon(_pump, near, far)


async def _pump(source: trio.abc.HalfCloseableStream, sink: trio.abc.HalfCloseableStream) -> None:
    """Pass on bytes and their end; a broken end ends both."""
    try:
        while data := await source.receive_some(_READ_BYTES):
            await sink.send_all(data)
        await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        await trio.aclose_forcefully(source)
        await trio.aclose_forcefully(sink)


class _Nobody:
    """Whom the reactor tells of bugs in what has no handler yet."""

    def on_events(self, events: int) -> None:
        """There are none."""

    def on_bug(self, error: Exception) -> None:
        """The reactor has logged it."""
