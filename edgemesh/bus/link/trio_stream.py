"""A stream of a link as one of trio's, for tasks: what is rare, and not worth a handler of its own.

The reactor drives the socket. Whatever is done with it here is done between the reactor's turns
(`Reactor.call`), and waiting is for one event that the handler sets.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import trio

from edgemesh.reactor.reactor import ERROR, HANGUP, HANGUP_IN, IN, OUT, Reactor
from edgemesh.reactor.virtual import VirtualSocket

_READ_BYTES = 65536
_READABLE = IN | HANGUP_IN | HANGUP | ERROR
_WRITABLE = OUT | HANGUP | ERROR

Result = TypeVar("Result")


class LinkStream(trio.abc.HalfCloseableStream):
    """See the module.

    Ownership: closes the socket when it is closed.
    """

    def __init__(self, reactor: Reactor, sock: VirtualSocket) -> None:
        """Take over a socket that nobody else uses.

        Args:
            reactor: which drives it.
            sock: connecting or connected.
        """
        self._reactor = reactor
        self._sock = sock
        self._reader: trio.Event | None = None
        self._writer: trio.Event | None = None

    async def connected(self) -> None:
        """Wait until the other end has accepted the stream.

        Raises:
            OSError: it has not; the text says why, as far as that end did.
        """
        try:
            while self._sock.connecting:
                await self._wait_writable()
        except trio.ClosedResourceError:
            raise OSError(errno.ECONNABORTED, "the stream was closed") from None
        problem = self._do(lambda: self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        if problem:
            raise OSError(problem, self._sock.reason or os.strerror(problem))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See trio; BrokenResourceError says that the other end takes no more."""
        await trio.lowlevel.checkpoint()
        rest = memoryview(data)
        while rest:
            try:
                sent = self._do(partial(self._sock.send, rest))
            except BlockingIOError:
                await self._wait_writable()
            except OSError as error:
                raise self._broken(error) from error
            else:
                rest = rest[sent:]

    async def wait_send_all_might_not_block(self) -> None:
        """See trio."""
        await self._wait_writable()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See trio."""
        await trio.lowlevel.checkpoint()
        while True:
            try:
                return self._do(lambda: self._sock.recv(max_bytes or _READ_BYTES))
            except BlockingIOError:
                await self._wait_readable()
            except OSError as error:
                raise self._broken(error) from error

    async def send_eof(self) -> None:
        """See trio."""
        await trio.lowlevel.checkpoint()
        try:
            self._do(lambda: self._sock.shutdown(socket.SHUT_WR))
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise self._broken(error) from error

    async def aclose(self) -> None:
        """End the stream, by a FIN where all that came was read."""
        if self._sock.fileno() != -1:
            self._reactor.call(self, self._close)
        await trio.lowlevel.checkpoint()

    def on_events(self, events: int) -> None:
        """Wake who waits for it; the socket is watched again by who waits next."""
        if self._reader is not None and events & _READABLE:
            self._reader.set()
            self._reader = None
        if self._writer is not None and events & _WRITABLE:
            self._writer.set()
            self._writer = None
        self._watch()

    def on_bug(self, error: Exception) -> None:  # noqa: ARG002 - the reactor logs it
        """End the stream."""
        self._sock.close()
        self._wake()

    async def _wait_readable(self) -> None:
        if self._reader is None:
            self._reader = trio.Event()
        await self._wait(self._reader)

    async def _wait_writable(self) -> None:
        if self._writer is None:
            self._writer = trio.Event()
        await self._wait(self._writer)

    async def _wait(self, event: trio.Event) -> None:
        if self._sock.fileno() == -1:
            raise trio.ClosedResourceError
        self._reactor.call(self, self._watch)
        await event.wait()
        if self._sock.fileno() == -1:
            raise trio.ClosedResourceError

    def _watch(self) -> None:
        number = self._sock.fileno()
        if number == -1:
            return
        interest = 0 if self._reader is None else IN
        interest |= 0 if self._writer is None else OUT
        if interest:
            self._reactor.watch(number, self, interest)
        else:
            self._reactor.unregister(number)

    def _close(self) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes(8))
        self._reactor.unregister(self._sock.fileno())
        self._sock.close()
        self._wake()

    def _wake(self) -> None:
        for event in (self._reader, self._writer):
            if event is not None:
                event.set()
        self._reader = self._writer = None

    def _do(self, work: Callable[[], Result]) -> Result:
        """Do something between turns.

        Raises:
            OSError: what ``work`` raised.
        """
        done: list[Result] = []
        failed: list[OSError] = []

        def run() -> None:
            try:
                done.append(work())
            except OSError as error:
                failed.append(error)

        self._reactor.call(self, run)
        if failed:
            raise failed[0]
        return done[0]

    def _broken(self, error: OSError) -> Exception:
        if self._sock.fileno() == -1:
            return trio.ClosedResourceError()
        return trio.BrokenResourceError(self._sock.reason or error.strerror)
