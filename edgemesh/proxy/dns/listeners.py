"""The sockets that clients ask."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import trio

from edgemesh.kernel.sockets import family_of
from edgemesh.model.errors import OperatorError
from edgemesh.proxy.dns.upstream import Server

_BACKLOG = 128


class DnsListener(NamedTuple):
    """One address: a non-blocking datagram socket and a listener for connections.

    Each is bound to that one address, so that answers leave from where they were asked.
    """

    datagrams: socket.socket
    connections: trio.SocketListener


@contextmanager
def open_listeners(addresses: tuple[Server, ...]) -> Iterator[list[DnsListener]]:
    """Bind every address before any is served.

    Raises:
        OperatorError: an address is not there or is taken.

    Ownership: closes all sockets at the end.
    """
    with ExitStack() as stack:
        listeners = []
        for address, port in addresses:
            try:
                listeners.append(_open(stack, address, port))
            except OSError as error:
                raise OperatorError(
                    f"dns.listen: {address} port {port}: {error.strerror}",
                    "is another resolver there, or is the address not on this node?",
                ) from error
        yield listeners


def _open(stack: ExitStack, address: str, port: int) -> DnsListener:
    family = family_of(address)
    datagrams = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
    connections = stack.enter_context(
        socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    )
    connections.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    connections.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for sock in (datagrams, connections):
        sock.bind((address, port))
    connections.listen(_BACKLOG)
    return DnsListener(datagrams, trio.SocketListener(trio.socket.from_stdlib_socket(connections)))
