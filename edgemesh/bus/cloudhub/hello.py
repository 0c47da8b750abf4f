"""Look at the ClientHello of a connection that was just accepted, and leave it where it is."""

from __future__ import annotations

import socket

import trio

from edgemesh.wire.client_hello import ClientHello, NotClientHello, read_client_hello

_MOST = 32768


async def peek_client_hello(sock: trio.socket.SocketType) -> ClientHello:
    """Wait for the ClientHello with which a connection begins.

    The caller sets a deadline. Nothing is taken off the socket.

    Raises:
        NotClientHello: something else came, or nothing before the end.
        OSError: the connection failed.
    """
    try:
        while True:
            await trio.lowlevel.wait_readable(sock)
            data = await sock.recv(_MOST, socket.MSG_PEEK)
            hello = read_client_hello(data) if data else None
            if hello is not None:
                return hello
            wanted = len(data) + 1
            if not data or wanted > _MOST or wanted == waited_for(sock):
                # At the end of the stream the socket stays readable and nothing is added.
                raise NotClientHello
            # The kernel wakes us when there is more than this, not for what we know.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)
    finally:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


def waited_for(sock: trio.socket.SocketType) -> int:
    """How many bytes the kernel was asked to wait for (SO_RCVLOWAT)."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
