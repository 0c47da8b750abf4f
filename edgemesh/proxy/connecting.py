"""Begin a connection to an endpoint, without ever blocking."""

from __future__ import annotations

import errno
import select
import socket

from edgemesh.kernel.sockets import dialling_socket, is_own_address
from edgemesh.model.services import Endpoint, Source
from edgemesh.proxy.context import Context


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


def connect_is_over(sock: socket.socket) -> bool:
    """Whether it is settled how a connect has ended, SO_ERROR tells how.

    For deadlines: among thousands of newcomers the reactor may come to a socket late, and what is
    late then is not the endpoint.
    """
    poller = select.poll()
    poller.register(sock, select.POLLOUT)
    return bool(poller.poll(0))


def source_address(client: str, endpoint: Endpoint, source: Source) -> str:
    """The address that an endpoint is called from; "" for one of the node's own.

    A client's address is preserved only within its family, and not where the client is the
    endpoint itself: Linux takes no packet from another host with its own address.
    """
    if source is not Source.PRESERVE or client == endpoint.address:
        return ""
    return client if (":" in client) is endpoint.is_ipv6 else ""
