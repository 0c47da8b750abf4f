"""One stream of a link: what its near side calls, and how far it has come."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Protocol

from edgemesh.policy.bus.credit import Incoming, Outgoing
from edgemesh.reactor.reactor import Handler
from edgemesh.reactor.timers import Timer
from edgemesh.wire.link.frames import END, HEADER_BYTES, OPENED, frame, reset

if TYPE_CHECKING:
    from edgemesh.bus.link.mux import Mux


class Near(Protocol):
    """Whom a stream ends at on this side: a `VirtualSocket`, or another stream it goes on by."""

    def opened(self) -> None:
        """The other end has accepted."""
        ...

    def refused(self, problem: int, reason: str = "") -> None:
        """The other end has not; ``problem`` is an errno."""
        ...

    def received(self, data: bytes) -> None:
        """Bytes have come, or one datagram."""
        ...

    def ended(self) -> None:
        """The other end sends no more."""
        ...

    def reset(self, problem: int = errno.ECONNRESET, reason: str = "") -> None:
        """The stream is gone."""
        ...

    def writable(self) -> None:
        """`Stream.send` takes something again."""
        ...


class Passing(Protocol):
    """Who passes a stream on by another link."""

    def granted(self, count: int) -> None:
        """The other end takes so many bytes more: whoever sends them may."""
        ...


class Stream:
    """The far end of whoever is near.

    Attributes:
        number: its id; on one link it is never used again.
        near: who is told, None when nobody is any more.
        passing: the same one where the stream goes on by another link.
        outgoing, incoming: credit.
        datagrams: each piece of data is one.
        unread: bytes that the link holds for this stream.
        opening: the other end has not answered yet.
        ended: this end has sent all it has to.
        heard_end: the other end has.
        over: no frame of it follows, either way.
        starved: waits for credit, its own or the link's.
        waiting: stands in the queue for room in the link's buffer.
        promised: has been called out of it.
        lingering: until when the other end has time to end it, once this end has closed.
    """

    __slots__ = (
        "_mux",
        "_sender",
        "datagrams",
        "ended",
        "heard_end",
        "incoming",
        "lingering",
        "near",
        "number",
        "opening",
        "outgoing",
        "over",
        "passing",
        "promised",
        "starved",
        "unread",
        "waiting",
    )

    def __init__(
        self, mux: Mux, number: int, *, outgoing: int, incoming: int, datagrams: bool
    ) -> None:
        """Made by `Mux`, with the windows of both directions."""
        self._mux = mux
        self._sender = mux.sender
        self.number = number
        self.near: Near | None = None
        self.passing: Passing | None = None
        self.outgoing = Outgoing(outgoing)
        self.incoming = Incoming(incoming)
        self.datagrams = datagrams
        self.unread = 0
        self.opening = True
        self.ended = False
        self.heard_end = False
        self.over = False
        self.starved = False
        self.waiting = False
        self.promised = False
        self.lingering: Timer[Handler] | None = None

    def accept(self) -> None:
        """The near side takes the stream that the other end wants."""
        if not self.over and self.opening:
            self.opening = False
            self._sender.put(frame(OPENED, self.number))

    def refuse(self, problem: int, reason: str) -> None:
        """It does not; or it gives up a stream, whichever end has opened it."""
        self.near = None
        self._let_go()
        if not self.over:
            self._sender.put(reset(self.number, problem, reason))
            self._mux.forget(self)

    def send(self, data: bytes | memoryview) -> int:
        """Take bytes as far as there is credit, or one datagram, which is dropped without."""
        if self.over or self.ended:
            return 0
        sender = self._sender
        size = len(data)
        if self.datagrams:
            sender.send_datagram(self, data, size)
            return size
        if sender.is_crowded(self):
            return 0
        room = sender.credit.room(self.outgoing)
        if room >= size:
            sender.send(self, data, size)
            return size
        sender.starve(self, room < self.outgoing.left)
        if room:
            sender.send(self, memoryview(data)[:room], room)
        return room

    def consumed(self, count: int) -> None:
        """Bytes, or a datagram, were read: their credit goes back."""
        self.release(count)
        self.give_back(count + HEADER_BYTES if self.datagrams else count)

    def release(self, count: int) -> None:
        """The link holds so many bytes less."""
        self.unread -= count
        self._mux.release(count)

    def give_back(self, count: int) -> None:
        """The other end may send so many bytes more on this stream."""
        if not self.over:
            self._mux.give_back(self, count)

    def end(self) -> None:
        """The near side sends no more."""
        if self.over or self.ended:
            return
        self.ended = True
        self._sender.put(frame(END, self.number))
        if self.heard_end:
            self._mux.forget(self)

    def drop(self, *, reset: bool) -> None:
        """The near side has closed."""
        if reset:
            self.refuse(errno.ECONNRESET, "")
            return
        self.near = None
        self._let_go()
        if not self.over:
            self.end()
            if not self.over:
                self._mux.linger(self)

    def give_up(self) -> None:
        """The other end has had time enough to end it."""
        if not self.over:
            self.refuse(errno.ECONNRESET, "closed")

    def _let_go(self) -> None:
        if self.unread:
            self.release(self.unread)
