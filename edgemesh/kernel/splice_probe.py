"""Whether splice(2) moves bytes from one TCP socket to another here."""

from __future__ import annotations

import os
import select
import socket
from contextlib import ExitStack

_SAMPLE = os.urandom(4096)
_PATIENCE_SECONDS = 1.0


def splice_problem() -> str:
    """Try it on the loopback interface; "" when it works, else why not.

    Blocks for less than a millisecond where it works, for a second at most where it does not.
    """
    try:
        with ExitStack() as stack:
            sender, source = _connected(stack)
            target, receiver = _connected(stack)
            reader, writer = os.pipe()
            stack.callback(os.close, reader)
            stack.callback(os.close, writer)
            sender.sendall(_SAMPLE)
            select.select([source], [], [], _PATIENCE_SECONDS)
            moved = os.splice(source.fileno(), writer, len(_SAMPLE), flags=os.SPLICE_F_NONBLOCK)
            os.splice(reader, target.fileno(), moved)
            if receiver.recv(moved, socket.MSG_WAITALL) != _SAMPLE[:moved]:
                return "splice(2) does not move bytes as they are"
    except OSError as error:
        return f"splice(2) between TCP sockets: {error.strerror or error}"
    return ""


def _connected(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection, closed with the stack."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(_PATIENCE_SECONDS)
        client = socket.create_connection(listener.getsockname(), _PATIENCE_SECONDS)
        stack.enter_context(client)
        server, _ = listener.accept()
        stack.enter_context(server)
    server.settimeout(_PATIENCE_SECONDS)
    return client, server
