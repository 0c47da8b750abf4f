"""What a link sends next.

Frames are put together while the events of a turn are handled and leave at its end, in one write.
Whoever has more to send than the link takes waits in a queue, and is called out of it by turns, so
that streams of much data have equal shares of the link and none is held up by another. Whoever has
no credit waits beside the queue, and holds up nobody.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from edgemesh.policy.bus.credit import LinkOutgoing
from edgemesh.wire.link.frames import HEADER_BYTES, data_header

if TYPE_CHECKING:
    from edgemesh.bus.link.stream import Stream


# A TLS record (RFC 8446 section 5.1): data that fill one are encrypted where they lie, which spares
# copying them once more.
_RECORD_BYTES = 16384


class Writer(Protocol):
    """Who has the connection."""

    def wake(self) -> None:
        """There is something to send: do so at the end of the turn."""
        ...

    def encrypt(self, data: bytearray | bytes | memoryview) -> None:
        """Send ``data`` at the end of the turn, before anything that is written later."""
        ...


class Sender:
    """Frames of one link that are to be sent, and streams that wait for that.

    Attributes:
        out: the frames.
        credit: of all streams together.
        max_frame: the most data in one frame.
        buffer_bytes: that are put together at once.
        dropped_datagrams: for lack of credit or room.
        lost: nothing is sent any more.
    """

    __slots__ = (
        "_crowd",
        "_short",
        "_waiting",
        "_writer",
        "buffer_bytes",
        "credit",
        "dropped_datagrams",
        "lost",
        "max_frame",
        "out",
    )

    def __init__(
        self, writer: Writer, credit: LinkOutgoing, max_frame: int, buffer_bytes: int
    ) -> None:
        """Have nothing to send."""
        self._writer = writer
        self.credit = credit
        self.max_frame = max_frame
        self.buffer_bytes = buffer_bytes
        # What is encrypted and was not sent.
        self._crowd = 0
        # For room in the buffer, and for credit of the link.
        self._waiting: deque[Stream] = deque()
        self._short: dict[int, Stream] = {}
        self.out = bytearray()
        self.dropped_datagrams = 0
        self.lost = False

    def put(self, frames: bytes) -> None:
        """Send frames of control."""
        if self.lost:
            return
        if not self.out:
            self._writer.wake()
        self.out += frames

    def send(self, stream: Stream, data: bytes | memoryview, size: int) -> None:
        """Send bytes of a stream, for which there is credit and room."""
        stream.outgoing.left -= size
        self.credit.left -= size
        out = self.out
        if not out:
            self._writer.wake()
        most = self.max_frame
        if size < _RECORD_BYTES and size <= most:
            out += data_header(stream.number, size)
            out += data
            return
        view = memoryview(data)
        for begin in range(0, size, most):
            part = view[begin : begin + most]
            out += data_header(stream.number, len(part))
            self._writer.encrypt(out)
            out.clear()
            self._writer.encrypt(part)
        self._crowd += size

    def send_datagram(self, stream: Stream, data: bytes | memoryview, size: int) -> None:
        """Send a datagram, or drop it when it had to wait.

        It costs its stream a header more than its size, so that empty ones are not without bound.
        """
        room = self.credit.room(stream.outgoing)
        if size + HEADER_BYTES > room or len(self.out) + self._crowd >= self.buffer_bytes:
            self.dropped_datagrams += 1
            return
        stream.outgoing.left -= size + HEADER_BYTES
        self.credit.left -= size
        if not self.out:
            self._writer.wake()
        self.out += data_header(stream.number, size)
        self.out += data

    def is_crowded(self, stream: Stream) -> bool:
        """Whether a stream has to wait for its turn, which it then does."""
        full = len(self.out) + self._crowd >= self.buffer_bytes
        if not full and (stream.promised or not self._waiting):
            stream.promised = False
            return False
        self.wait(stream)
        return True

    def starve(self, stream: Stream, of_the_link: bool) -> None:
        """Have a stream called when there is credit again, its own or, too, the link's."""
        stream.starved = True
        if of_the_link:
            self._short[stream.number] = stream
        if self._waiting:
            # It may have been promised room that it cannot use.
            self.call()

    def wait(self, stream: Stream) -> None:
        """Have a stream called when the link takes more."""
        if stream.waiting:
            return
        stream.waiting = True
        if stream.promised:
            # It was first, and could not go on after all.
            stream.promised = False
            self._waiting.appendleft(stream)
        else:
            self._waiting.append(stream)

    def kept(self, unsent: int) -> None:
        """The connection has so many bytes that it could not send."""
        self._crowd = unsent

    def call(self) -> None:
        """Let those go on who have waited longest, as many as there is room for."""
        waiting = self._waiting
        room = self.buffer_bytes - len(self.out) - self._crowd
        while waiting and room > 0:
            stream = waiting.popleft()
            stream.waiting = False
            if stream.near is not None and not stream.over:
                stream.promised = True
                room -= self.max_frame
                stream.near.writable()

    def call_short(self) -> None:
        """There is credit of the link again for those who had too little of it."""
        short, self._short = self._short, {}
        for stream in short.values():
            if stream.starved and stream.near is not None and not stream.over:
                stream.starved = False
                stream.near.writable()

    def lose(self) -> None:
        """The connection is gone."""
        self.lost = True
        self._waiting.clear()
        self._short.clear()
        self.out.clear()
