"""The socket under an HTTP/2 connection.

Frames are put together while the events of a turn are handled, and leave at its end, in one
write for each connection. What the socket does not take is kept; DATA then waits in its stream
(`wire/http2/stream.py`), so that is little more than what was put together in one turn. A peer
that makes us write and does not read is not read from any more.
"""

from __future__ import annotations

import os
import socket
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from edgemesh.kernel.sockets import Socket
from edgemesh.proxy.context import Context
from edgemesh.reactor.reactor import ERROR, HANGUP, HANGUP_IN, IN, OUT
from edgemesh.wire.http2.connection import Connection

# The descriptor of no socket; those of virtual ones are below.
CLOSED = -1
_READABLE = IN | HANGUP_IN | HANGUP | ERROR
Spoken = TypeVar("Spoken", bound=Connection[Any])


class Link(ABC, Generic[Spoken]):
    """A connected socket and what is said on it; the handler of its events.

    Ownership: the socket is closed by who inherits.

    Attributes:
        connection: what is said.
        bytes_in, bytes_out: that were read and written.
        heard_at: when something was read last.
    """

    __slots__ = (
        "_backlog_limit",
        "_buffer",
        "_context",
        "_fd",
        "_reactor",
        "_sock",
        "_unsent",
        "_watched",
        "bytes_in",
        "bytes_out",
        "connection",
        "heard_at",
    )

    connection: Spoken
    _sock: Socket

    def __init__(self, context: Context) -> None:
        """Prepare; who inherits sets ``connection`` and ``_sock``."""
        self._context = context
        self._reactor = context.reactor
        self._buffer = context.relay_buffer
        self._backlog_limit = 2 * context.http2.settings.output_bytes
        self._fd = CLOSED
        self._unsent: bytes | memoryview = b""
        self._watched = -1
        self.bytes_in = 0
        self.bytes_out = 0
        self.heard_at = context.reactor.now

    @abstractmethod
    def heard(self) -> None:
        """Frames were read; the connection's ``fault`` may be set."""
        ...

    @abstractmethod
    def lost(self, why: str) -> None:
        """The socket is of no use any more."""
        ...

    @abstractmethod
    def ended(self) -> None:
        """The peer has closed its direction."""
        ...

    @abstractmethod
    def on_bug(self, error: Exception) -> None:
        """Release everything."""
        ...

    def wake(self) -> None:
        """There is something to be written: do so at the end of the turn."""
        self._reactor.soon(self, self.flush)

    def flush(self) -> None:
        """Write what there is, and what gets room by that."""
        if self._unsent or self._fd == CLOSED:
            return
        connection = self.connection
        output = connection.output
        while output:
            data = b"".join(output)
            output.clear()
            try:
                sent = self._sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self.lost(error.strerror or "")
                return
            self.bytes_out += sent
            if sent < len(data):
                self._unsent = memoryview(data)[sent:]
                connection.socket_is_full()
                self.watch()
                return
            connection.written()

    def on_events(self, events: int) -> None:
        """Write what waits for this socket, then read once from it."""
        if events & OUT and self._unsent:
            self._send_unsent()
        if not events & _READABLE or self._fd == CLOSED:
            return
        if self._watched & IN:
            self._read()
        elif events & (ERROR | HANGUP):
            code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self.lost(os.strerror(code) if code else "hung up")

    def watch(self) -> None:
        """Register for what this side can act on now."""
        wanted = IN | HANGUP_IN if self._may_read() else 0
        if self._unsent:
            wanted |= OUT
        if wanted != self._watched:
            self._watched = wanted
            self.register(wanted)

    def register(self, wanted: int) -> None:
        """Tell the reactor what is wanted."""
        self._reactor.watch(self._fd, self, wanted)

    def detach(self) -> None:
        """Let go of the socket, and of what the connection shares with others."""
        self._fd = CLOSED
        self._unsent = b""
        self.connection.release()

    def _may_read(self) -> bool:
        if not self._unsent:
            return True
        backlog = len(self._unsent) + sum(map(len, self.connection.output))
        return backlog <= self._backlog_limit

    def _read(self) -> None:
        buffer = self._buffer
        try:
            count = self._sock.recv_into(buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self.lost(error.strerror or "")
            return
        if not count:
            self.ended()
            return
        self.take(bytes(buffer[:count]))

    def take(self, data: bytes) -> None:
        """Take what was read of the socket."""
        self.bytes_in += len(data)
        self.heard_at = now = self._reactor.now
        self.connection.receive(data, now)
        self.heard()
        if self._unsent and self._fd != CLOSED:
            self.watch()

    def _send_unsent(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            return
        except OSError as error:
            self.lost(error.strerror or "")
            return
        self.bytes_out += sent
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self.connection.written()
            self.flush()
        if self._fd != CLOSED:
            self.watch()
