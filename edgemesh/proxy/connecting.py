"""Connect to an endpoint without ever blocking: begin, bound it by a deadline, see how it ended."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgemesh.kernel.sockets import (
    Address,
    Socket,
    bound_kernel_memory,
    dialling_socket,
    is_own_address,
)
from edgemesh.model.services import Endpoint, ServicePort, Source
from edgemesh.model.streams import CLOUD, StreamRequest
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.proxy.context import Context
from edgemesh.reactor.reactor import ERROR, OUT, Handler
from edgemesh.reactor.timers import Timer
from edgemesh.reactor.virtual import VirtualSocket
from edgemesh.wire.host_port import joined

if TYPE_CHECKING:
    from edgemesh.proxy.flow import Flow

# Members of an enum are looked up slowly.
_NODE = Source.NODE


def connecting_socket(
    context: Context, endpoint: Endpoint, source: str = ""
) -> tuple[socket.socket | None, int]:
    """A socket that connects to an endpoint.

    Args:
        context: of the data plane.
        endpoint: where to.
        source: the address to call from, "" for one of the node's own.

    Returns:
        The socket, and 0; or None and the errno of why there is none: ELOOP when it would call
        ourselves.

    Ownership: the caller closes the socket.
    """
    sock = None
    try:
        if endpoint.port == context.settings.tcp_port and is_own_address(endpoint.address):
            return None, errno.ELOOP
        sock = dialling_socket(
            endpoint.address, socket.SOCK_STREAM, context.own_mark, source or None
        )
        bound_kernel_memory(sock, context.settings.flow_kernel_bytes)
        problem = sock.connect_ex((endpoint.address, endpoint.port))
    except OSError as error:
        problem = error.errno or errno.EIO
    if problem in {0, errno.EINPROGRESS}:
        return sock, 0
    if sock is not None:
        sock.close()
    return None, problem


def connecting_stream(
    context: Context, port: ServicePort, endpoint: Endpoint, client: Address
) -> tuple[VirtualSocket | None, int]:
    """The same by the bus, to an endpoint of another end of the mesh.

    Args:
        context: of the data plane.
        port: that is called.
        endpoint: that was chosen; the cloud chooses by itself.
        client: who calls.

    Returns:
        The socket, and 0; or None and the errno of why there is none.

    Ownership: the caller closes the socket.
    """
    pod = context.decider.snapshot.pods.get(client[0])
    request = StreamRequest(
        endpoint.node,
        port.key,
        "" if endpoint.node == CLOUD else joined(endpoint.address, endpoint.port),
        client,
        f"{pod.namespace}/{pod.workload or pod.name}" if pod else "",
        port.transport,
    )
    sock = None if context.remote is None else context.remote.connect(request)
    return (None, errno.ENETUNREACH) if sock is None else (sock, 0)


def pool_key(flow: Flow, state: EndpointState, source: Source) -> tuple[EndpointState, str, str]:
    """What connections have in common that a request may be sent on.

    Streams by the bus are for one client each: the other end is told whose they are, since
    policies there may count by that, and another stream costs little.

    Args:
        flow: the client's.
        state: of the endpoint.
        source: which client address it sees.
    """
    context = flow.context
    if source is _NODE and context.remote is None and state.endpoint.node != CLOUD:
        return state, "", ""
    way = context.way_to(state.endpoint)
    client = flow.client_address[0]
    if way:
        return state, client, way
    return state, "" if flow.stream else source_address(client, state.endpoint, source), ""


def pooled_socket(
    context: Context, key: tuple[EndpointState, str, str], port: ServicePort, client: Address
) -> tuple[Socket | None, int]:
    """A socket for a connection of this `pool_key`; the rest is as above."""
    state, source, way = key
    if way:
        return connecting_stream(context, port, state.endpoint, client)
    return connecting_socket(context, state.endpoint, source)


def reason_of(sock: Socket) -> str:
    """What the other end of the mesh has said of why it has refused, "" for nothing."""
    return sock.reason if isinstance(sock, VirtualSocket) else ""


def taken_way(sock: Socket, expected: str) -> str:
    """The way that a stream has taken: it may have waited for a better one in vain.

    Args:
        sock: connected.
        expected: what `Context.way_to` said before, "" where it is no stream.
    """
    return sock.way or expected if isinstance(sock, VirtualSocket) else expected


class Connecting:
    """A connect that is under way, and the deadline for it.

    Ownership: the socket is the caller's.
    """

    __slots__ = ("_deadline", "_ended", "_heeds_words", "_reactor", "_sock")

    def __init__(
        self,
        context: Context,
        sock: Socket,
        seconds: float,
        handler: Handler,
        ended: Callable[[int], None],
        *,
        heeds_words: bool = False,
    ) -> None:
        """Wait for a socket of `connecting_socket`.

        Args:
            context: of the data plane.
            sock: see there.
            seconds: for it, 0 for as long as the kernel tries.
            handler: gets the socket's events, and calls `look` for one.
            ended: is called once, with 0 or the errno of why there is no connection.
            heeds_words: whether a connection that was broken off already counts as one if the
                endpoint has said something on it; the error comes behind that, for who reads it.
        """
        self._sock = sock
        self._reactor = context.reactor
        self._ended = ended
        self._heeds_words = heeds_words
        self._deadline: Timer[Handler] | None = None
        if seconds:
            self._deadline = context.reactor.after(seconds, handler, self._expire)
        context.reactor.watch_newcomer(sock.fileno(), handler, OUT)

    def look(self, events: int = ERROR) -> None:
        """Tell how it has ended; ``events`` are what is known of the socket."""
        self.stop()
        if events & ERROR and self._heeds_words:
            self._ended(_problem_without_words(self._sock))
        else:
            self._ended(self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def stop(self) -> None:
        """Wait no more; nothing is told."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        self._deadline = None
        # Among thousands of newcomers the reactor may come to a socket late, and what is late then
        # is not the endpoint.
        if self._reactor.is_ready(self._sock.fileno(), OUT):
            self.look()
        else:
            self._ended(errno.ETIMEDOUT)


def _problem_without_words(sock: Socket) -> int:
    """The errno of a socket on which nothing is to be read, otherwise 0."""
    try:
        # Not SO_ERROR first: it takes the error away.
        if sock.recv(1, socket.MSG_PEEK):
            return 0
    except BlockingIOError:
        pass
    except OSError as error:
        return error.errno or errno.EIO
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def source_address(client: str, endpoint: Endpoint, source: Source) -> str:
    """The address that an endpoint is called from; "" for one of the node's own.

    A client's address is preserved only within its family, and not where the client is the
    endpoint itself: Linux takes no packet from another host with its own address.
    """
    if source is not Source.PRESERVE or client == endpoint.address:
        return ""
    return client if (":" in client) is endpoint.is_ipv6 else ""
