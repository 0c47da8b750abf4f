"""Connect to an endpoint without ever blocking: begin, bound it by a deadline, see how it ended."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Callable

from edgemesh.kernel.sockets import dialling_socket, is_own_address
from edgemesh.model.services import Endpoint, Source
from edgemesh.proxy.context import Context
from edgemesh.reactor.reactor import OUT, Handler
from edgemesh.reactor.timers import Timer


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
        problem = sock.connect_ex((endpoint.address, endpoint.port))
    except OSError as error:
        problem = error.errno or errno.EIO
    if problem in {0, errno.EINPROGRESS}:
        return sock, 0
    if sock is not None:
        sock.close()
    return None, problem


class Connecting:
    """A connect that is under way, and the deadline for it.

    Ownership: the socket is the caller's.
    """

    __slots__ = ("_deadline", "_ended", "_sock")

    def __init__(
        self,
        context: Context,
        sock: socket.socket,
        seconds: float,
        handler: Handler,
        ended: Callable[[int], None],
    ) -> None:
        """Wait for a socket of `connecting_socket`.

        Args:
            context: of the data plane.
            sock: see there.
            seconds: for it, 0 for as long as the kernel tries.
            handler: gets the socket's events, and calls `look` for one.
            ended: is called once, with 0 or the errno of why there is no connection.
        """
        self._sock = sock
        self._ended = ended
        self._deadline: Timer[Handler] | None = None
        if seconds:
            self._deadline = context.reactor.after(seconds, handler, self._expire)
        context.reactor.watch_newcomer(sock.fileno(), handler, OUT)

    def look(self) -> None:
        """Tell how it has ended."""
        self.stop()
        self._ended(self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def stop(self) -> None:
        """Wait no more; nothing is told."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        self._deadline = None
        if self._is_over():
            self.look()
        else:
            self._ended(errno.ETIMEDOUT)

    def _is_over(self) -> bool:
        """Whether it is settled how it has ended, though no event has told.

        Among thousands of newcomers the reactor may come to a socket late, and what is late then
        is not the endpoint.
        """
        poller = select.poll()
        poller.register(self._sock, select.POLLOUT)
        return bool(poller.poll(0))


def source_address(client: str, endpoint: Endpoint, source: Source) -> str:
    """The address that an endpoint is called from; "" for one of the node's own.

    A client's address is preserved only within its family, and not where the client is the
    endpoint itself: Linux takes no packet from another host with its own address.
    """
    if source is not Source.PRESERVE or client == endpoint.address:
        return ""
    return client if (":" in client) is endpoint.is_ipv6 else ""
