"""Virtual sockets: streams that somebody else carries, with the face of a non-blocking socket.

To whoever forwards a flow a stream over a link is a connected TCP or UDP socket. What it would see
of the kernel's it sees here, the order of errors and ends included (tcp_poll(), tcp_recvmsg() and
tcp_sendmsg() of Linux 6.1, `tests/flow/test_virtual_like_tcp.py`): bytes that came before a reset
can still be read, an error is told once, after it reading finds the end and writing EPIPE.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from collections.abc import Iterable
from typing import Protocol, overload

from edgemesh.reactor.reactor import Reactor
from edgemesh.reactor.received import Received

_IN = select.EPOLLIN
_OUT = select.EPOLLOUT
_ENDED = select.EPOLLIN | select.EPOLLRDHUP
_HANGUP = select.EPOLLHUP
_ERROR = select.EPOLLERR
# As a number: Python's flags take ten times as long.
_PEEK = int(socket.MSG_PEEK)
_FIN_ON_CLOSE = 0


class FarEnd(Protocol):
    """Who carries the stream, as its near side sees it.

    It is called within the reactor's turn, and may call the far side's methods of the
    `VirtualSocket` only from a turn as well. Nothing is called after `refuse` and `drop`.
    """

    def accept(self) -> None:
        """The near side takes a stream that the other end wants."""
        ...

    def refuse(self, problem: int, reason: str) -> None:
        """The near side does not; ``problem`` is an errno."""
        ...

    def send(self, data: bytes | memoryview) -> int:
        """Take bytes, or one datagram whole.

        Returns:
            How many were taken; 0 when there is no credit, `VirtualSocket.writable` follows then.
        """
        ...

    def consumed(self, count: int) -> None:
        """The near side has read so many bytes: the credit for them may go back."""
        ...

    def end(self) -> None:
        """The near side sends no more; after all that was sent (FIN)."""
        ...

    def drop(self, *, reset: bool) -> None:
        """The near side has closed: with a RST, or with a FIN and no more reading."""
        ...


class VirtualSocket:
    """One end of a stream. Connecting at first.

    A stream that was wanted here waits for `opened` or `refused`, one that the other end wants for
    `accept` or `refuse`.

    What a socket's method does is said in socket(7), tcp(7) and udp(7); those that are here raise
    `OSError` as theirs do. As with the data plane's own sockets closing resets the connection,
    unless SO_LINGER was switched off.

    Attributes:
        far: who carries it; set by that one, before anything is sent.
        datagrams: whether each `send` is a datagram.
        reason: what the far side said of why it has refused or reset the stream.
        way: by which it goes, as whoever carries it says; "" before that is settled.
        sockname, peername: what `getsockname` and `getpeername` say.

    Ownership: closed by its user; `far` is told then.
    """

    __slots__ = (
        "_closed",
        "_connecting",
        "_dead",
        "_descriptor",
        "_fin_on_close",
        "_in_ended",
        "_in_shut",
        "_low_water",
        "_out_shut",
        "_problem",
        "_reactor",
        "_received",
        "_writable",
        "datagrams",
        "far",
        "peername",
        "reason",
        "sockname",
        "way",
    )

    def __init__(self, reactor: Reactor, *, datagrams: bool = False) -> None:
        """Get a descriptor of ``reactor``."""
        self._reactor = reactor
        self._descriptor = reactor.descriptors.open()
        self._received = Received()
        self._low_water = 1
        self._connecting = True
        self._writable = False
        self._in_ended = False
        self._in_shut = False
        self._out_shut = False
        self._dead = False
        self._closed = False
        self._fin_on_close = False
        self._problem = 0
        self.datagrams = datagrams
        self.far: FarEnd | None = None
        self.reason = ""
        self.way = ""
        self.sockname: tuple[str, int] = ("", 0)
        self.peername: tuple[str, int] = ("", 0)

    # The near side.

    def accept(self) -> None:
        """Take a stream that the other end wants; a second time does nothing."""
        if self._connecting and self.far is not None:
            self.far.accept()
            self.opened()

    def refuse(self, problem: int, reason: str) -> None:
        """Close a stream that the other end wants and that was not taken, saying why.

        Args:
            problem: an errno, which its connect() fails with there.
            reason: for people.
        """
        far, self.far = self.far, None
        if far is not None:
            far.refuse(problem, reason)
        self.close()

    @property
    def connecting(self) -> bool:
        """Whether nothing was said yet of whether it is taken."""
        return self._connecting

    def fileno(self) -> int:
        """A number below -1 that the reactor knows; -1 once closed."""
        return -1 if self._closed else self._descriptor.number

    def setblocking(self, flag: bool, /) -> None:
        """It never blocks, whatever is asked for."""

    def getsockname(self) -> tuple[str, int]:
        """See ``sockname``."""
        return self.sockname

    def getpeername(self) -> tuple[str, int]:
        """See ``peername``; raises ENOTCONN before the stream is open."""
        if self._connecting or self._closed:
            raise _error(errno.ENOTCONN)
        return self.peername

    @overload
    def getsockopt(self, level: int, name: int, /) -> int: ...

    @overload
    def getsockopt(self, level: int, name: int, size: int, /) -> bytes: ...

    def getsockopt(self, level: int, name: int, size: int = 0, /) -> int | bytes:
        """SO_ERROR, which is taken by that; others are unknown (ENOPROTOOPT)."""
        if size or (level, name) != (socket.SOL_SOCKET, socket.SO_ERROR):
            raise _error(errno.ENOPROTOOPT)
        return self._take_problem()

    def setsockopt(self, level: int, name: int, value: int | bytes, /) -> None:
        """SO_LINGER and SO_RCVLOWAT hold; the others are about packets, of which there are none."""
        if level != socket.SOL_SOCKET:
            return
        if name == socket.SO_LINGER and isinstance(value, bytes):
            self._fin_on_close = struct.unpack_from("i", value)[0] == _FIN_ON_CLOSE
        elif name == socket.SO_RCVLOWAT and isinstance(value, int):
            self._low_water = max(value, 1)
            self._tell()

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Up to ``size`` bytes, or one datagram and of that no more."""
        received = self._received
        if not received.chunks:
            self._raise_or_end()
            return b""
        if self.datagrams:
            data = received.first()
            if not flags & _PEEK:
                received.drop_first()
                self._consumed(len(data))
            return data[:size]
        data = received.view(size)
        if not flags & _PEEK:
            received.drop(len(data))
            self._consumed(len(data))
        return data

    def recv_into(self, buffer: memoryview | bytearray, size: int = 0, flags: int = 0, /) -> int:
        """The same into ``buffer``; ``size`` is that of the buffer when it is 0."""
        view = memoryview(buffer)
        room = size or len(view)
        if self.datagrams or not self._received.chunks:
            data = self.recv(room, flags)
            view[: len(data)] = data
            return len(data)
        copied = self._received.copy_into(view, room)
        if not flags & _PEEK:
            self._received.drop(copied)
            self._consumed(copied)
        return copied

    def send(self, data: bytes | memoryview, flags: int = 0, /) -> int:  # noqa: ARG002 - as there
        """As many bytes as there is credit for, or a whole datagram."""
        self._check_open()
        self._raise_problem()
        if self._dead or self._out_shut:
            raise _error(errno.EPIPE)
        far = self.far
        if self._connecting or far is None or not self._writable:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        size = len(data)
        sent = far.send(data)
        if sent < size:
            self._writable = False
            self._tell()
            if not sent:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return sent

    def sendmsg(self, buffers: Iterable[bytes | memoryview], /) -> int:
        """The same for what ``buffers`` hold together."""
        return self.send(b"".join(buffers))

    def shutdown(self, how: int, /) -> None:
        """End one direction or both; raises ENOTCONN when the connection is over already."""
        self._check_open()
        if self._connecting or self._dead or (self._in_ended and self._out_shut):
            raise _error(errno.ENOTCONN)
        if how != socket.SHUT_WR:
            self._in_shut = True
        if how != socket.SHUT_RD and not self._out_shut:
            self._out_shut = True
            if self.far is not None:
                self.far.end()
        self._tell()

    def close(self) -> None:
        """Let go of the stream; bytes that were not read reset it as well (RFC 9293, 3.10.4)."""
        if self._closed:
            return
        over = self._dead or (self._in_ended and self._out_shut)
        reset = not over and (
            self._connecting or not self._fin_on_close or bool(self._received.held)
        )
        self._closed = True
        self._reactor.descriptors.release(self._descriptor)
        self._received.clear()
        far, self.far = self.far, None
        if far is not None:
            far.drop(reset=reset)

    # The far side.

    def opened(self) -> None:
        """The far side has accepted: bytes may go both ways."""
        self._connecting = False
        self._writable = True
        self._tell()

    def refused(self, problem: int, reason: str = "") -> None:
        """The far side has not accepted; ``problem`` is an errno."""
        self._die(problem, reason)

    def received(self, data: bytes) -> None:
        """Bytes have come, or one datagram."""
        if self._closed or self._dead or not (data or self.datagrams):
            return
        self._received.put(data)
        self._tell()

    def ended(self) -> None:
        """The far side sends no more (FIN)."""
        if not self._dead:
            self._in_ended = True
            self._tell()

    def reset(self, problem: int = errno.ECONNRESET, reason: str = "") -> None:
        """The stream is gone; what came before can still be read (RST)."""
        if self._connecting:
            self._die(errno.ECONNREFUSED if problem == errno.ECONNRESET else problem, reason)
        elif self._in_ended and not self.datagrams:
            # tcp_reset(): who has heard a FIN can only find that nobody reads what it writes.
            # When both have said it the connection is over, and cannot be reset.
            if not self._out_shut:
                self._die(errno.EPIPE, reason)
        else:
            self._die(problem, reason)

    def writable(self) -> None:
        """There is credit again."""
        self._writable = True
        self._tell()

    # What both have in common.

    def _die(self, problem: int, reason: str) -> None:
        if self._closed or self._dead:
            return
        self._connecting = False
        self._dead = True
        self._problem = problem
        self.reason = reason
        self._tell()

    def _tell(self) -> None:
        """Say what is ready now, as tcp_poll() does."""
        if self._closed:
            return
        events = 0
        received = self._received
        if not self._connecting:
            no_input = self._in_ended or self._in_shut or self._dead
            no_output = self._out_shut or self._dead
            if no_input:
                events = _ENDED
            elif received.chunks if self.datagrams else received.held >= self._low_water:
                events = _IN
            if no_output or self._writable:
                events |= _OUT
            if no_input and no_output:
                events |= _HANGUP
            if self._problem:
                events |= _ERROR
        if events != self._descriptor.ready:
            self._descriptor.set_ready(events)

    def _raise_or_end(self) -> None:
        """There is nothing to be read: raise why; return when it is that the stream has ended."""
        self._check_open()
        if self._in_ended:
            if self.datagrams:
                # An empty read would be an empty datagram.
                raise _error(errno.ENOTCONN)
            return
        self._raise_problem()
        if self._dead or self._in_shut:
            return
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def _check_open(self) -> None:
        if self._closed:
            raise _error(errno.EBADF)

    def _raise_problem(self) -> None:
        if self._problem:
            raise _error(self._take_problem())

    def _take_problem(self) -> int:
        problem, self._problem = self._problem, 0
        if problem:
            self._tell()
        return problem

    def _consumed(self, count: int) -> None:
        self._tell()
        # An empty datagram, too, has taken up room.
        if (count or self.datagrams) and self.far is not None:
            self.far.consumed(count)


def _error(problem: int) -> OSError:
    return OSError(problem, os.strerror(problem))
