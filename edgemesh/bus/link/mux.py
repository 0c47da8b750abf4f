"""Many streams on one link: which there are, and what the other end's frames mean for them."""

from __future__ import annotations

import errno

from edgemesh.bus.link.roles import Carrier
from edgemesh.bus.link.sending import Sender
from edgemesh.bus.link.stream import Stream
from edgemesh.policy.bus.allowance import Allowance
from edgemesh.policy.bus.credit import LinkIncoming, LinkOutgoing
from edgemesh.wire.link.frames import (
    END,
    GOAWAY,
    HEADER_BYTES,
    HELLO,
    LARGEST_STREAM_ID,
    OPEN,
    OPENED,
    PING,
    PING_BYTES,
    PONG,
    RESET,
    WINDOW,
    FrameReader,
    Hello,
    LinkError,
    Violation,
    frame,
    read_credit,
    read_hello,
    read_reason,
    reset,
    window,
)

# Frames that are allowed and of no use, at once and a second.
_GLITCHES = 1000
_GLITCH_RATE = 100
# Frames of control that the other end has not read, in buffers of data: nobody has so many.
_UNREAD_BUFFERS = 8


class Mux(FrameReader):
    """The streams of one link.

    Attributes:
        sender: what is to be sent.
        streams: that are open, by number.
        incoming: credit of all of them together.
        greeted: what the other end has said of itself, None before.
        opened: streams that were opened, by either end.
        left: this end opens no streams any more; heard_goaway: nor does the other.
    """

    __slots__ = (
        "_carrier",
        "_glitches",
        "_last_number",
        "_next_number",
        "_now",
        "_openings",
        "_ours_open",
        "_own",
        "_parity",
        "_theirs_open",
        "greeted",
        "heard_goaway",
        "incoming",
        "left",
        "opened",
        "sender",
        "streams",
    )

    def __init__(
        self,
        carrier: Carrier,
        own: Hello,
        *,
        dialler: bool,
        buffer_bytes: int,
        stream_rate: int,
        now: float,
    ) -> None:
        """Expect the other end's HELLO.

        Args:
            carrier: who has the connection.
            own: what this end says of itself.
            dialler: whether this end has dialled.
            buffer_bytes: that are put together for the link at once.
            stream_rate: streams that the other end may open a second.
            now: the reactor's time.
        """
        super().__init__(own.max_frame)
        self._carrier = carrier
        self._own = own
        self._now = now
        self._parity = 1 if dialler else 0
        self._next_number = 1 if dialler else 2
        # The highest number that the other end has used.
        self._last_number = 0
        self._ours_open = 0
        self._theirs_open = 0
        self._glitches = Allowance(_GLITCHES, _GLITCH_RATE, now)
        self._openings = Allowance(own.max_streams, stream_rate, now)
        credit = LinkOutgoing(own.link_window, own.max_streams)
        self.sender = Sender(carrier, credit, own.max_frame, buffer_bytes)
        self.streams: dict[int, Stream] = {}
        self.incoming = LinkIncoming(own.link_window)
        self.greeted: Hello | None = None
        self.opened = 0
        self.left = False
        self.heard_goaway = False

    # What this end does.

    def may_open(self) -> bool:
        """Whether `open` may be called."""
        greeted = self.greeted
        return (
            greeted is not None
            and self._ours_open < greeted.max_streams
            and self._next_number <= LARGEST_STREAM_ID
            and not self.left
            and not self.heard_goaway
        )

    def open(self, message: bytes, *, datagrams: bool) -> Stream:
        """Ask for a stream; `may_open` has said yes."""
        number = self._next_number
        self._next_number += 2
        self._ours_open += 1
        self.sender.put(frame(OPEN, number, message))
        return self._new_stream(number, datagrams=datagrams)

    def release(self, count: int) -> None:
        """Streams hold so many bytes less of what has come."""
        if self.sender.lost:
            return
        incoming = self.incoming
        credit = incoming.consumed(count)
        if incoming.pressed:
            incoming.presses()
        if credit:
            self.sender.put(window(0, credit))

    def give_back(self, stream: Stream, count: int) -> None:
        """Let the other end send so many bytes more on a stream, when that is worth a frame."""
        credit = stream.incoming.consumed(count)
        if self.incoming.pressed:
            credit += stream.incoming.due()
        if credit:
            self.sender.put(window(stream.number, credit))

    def linger(self, stream: Stream) -> None:
        """Its near side has closed, and waits for the other end to do so."""
        stream.lingering = self._carrier.linger(stream)

    def forget(self, stream: Stream) -> None:
        """A stream is over."""
        stream.over = True
        if stream.lingering is not None:
            stream.lingering.cancel()
            stream.lingering = None
        del self.streams[stream.number]
        if stream.number & 1 == self._parity:
            self._ours_open -= 1
        else:
            self._theirs_open -= 1
        if stream.promised:
            self.sender.call()
        if not self.streams:
            self._carrier.at_rest()

    def lose(self, problem: int, reason: str) -> None:
        """The link is gone: reset all streams."""
        streams = list(self.streams.values())
        self.streams.clear()
        self.sender.lose()
        self.left = True
        for stream in streams:
            stream.over = True
            near = stream.near
            if near is None:
                continue
            if stream.opening and stream.number & 1 == self._parity:
                near.refused(problem, reason)
            else:
                near.reset(problem, reason)

    # What the other end does.

    def take(self, data: memoryview, size: int, now: float) -> int:
        """Act on what has come; see `read`."""
        self._now = now
        used = self.read(data, size)
        if len(self.sender.out) > _UNREAD_BUFFERS * self.sender.buffer_bytes:
            raise LinkError(Violation.UNREAD, "it reads nothing of what it has asked for")
        return used

    def on_data(self, stream_id: int, data: memoryview, begin: int, end: int) -> None:
        """DATA: to whoever it is for, with its credit."""
        stream = self.streams.get(stream_id)
        size = end - begin
        if stream is None:
            self._on_stray(stream_id)
            # It was sent before the other end knew.
            self.incoming.received(size)
            self.release(size)
            return
        if stream.heard_end or stream.opening:
            when = "after END" if stream.heard_end else "before OPENED"
            raise LinkError(Violation.SENT_AFTER_END, f"DATA {when}, stream {stream_id}")
        cost = size
        if stream.datagrams:
            cost += HEADER_BYTES
        elif not size:
            self._glitch("empty DATA")
            return
        incoming = self.incoming
        incoming.received(size)
        stream.incoming.received(cost)
        near = stream.near
        if near is None:
            # Nobody reads any more: as a kernel does, tell whoever still writes.
            self.release(size)
            stream.refuse(errno.ECONNRESET, "closed")
            return
        stream.unread += size
        if incoming.presses():
            self._give_all_back()
        near.received(bytes(data[begin:end]))

    def on_control(self, kind: int, stream_id: int, payload: bytes) -> None:
        """Any other frame."""
        if self.greeted is None:
            self._on_hello(kind, stream_id, payload)
        elif kind == WINDOW:
            self._on_window(stream_id, read_credit(payload))
        elif kind == OPEN:
            self._on_open(stream_id, payload)
        elif kind in {OPENED, END, RESET}:
            stream = self.streams.get(stream_id)
            if stream is None:
                self._on_stray(stream_id)
            elif kind == RESET:
                self._on_reset(stream, *read_reason(payload))
            elif payload:
                raise LinkError(Violation.MALFORMED, f"a frame of kind {kind} with a payload")
            elif kind == END:
                self._on_end(stream)
            else:
                self._on_opened(stream)
        else:
            self._on_link_frame(kind, stream_id, payload)

    def _on_hello(self, kind: int, stream_id: int, payload: bytes) -> None:
        if kind != HELLO or stream_id:
            raise LinkError(Violation.NOT_HELLO, f"a frame of kind {kind} comes first")
        said = read_hello(payload)
        self._carrier.greeted(said)
        self.greeted = said
        self.sender.max_frame = said.max_frame
        streams = said.max_streams + self._own.max_streams
        self.sender.credit = LinkOutgoing(said.link_window, streams)
        self._carrier.came_up()

    def _on_link_frame(self, kind: int, stream_id: int, payload: bytes) -> None:
        if kind == HELLO:
            raise LinkError(Violation.NOT_HELLO, "a second HELLO")
        if stream_id:
            raise LinkError(Violation.WRONG_STREAM, f"a frame of kind {kind}, stream {stream_id}")
        if kind == GOAWAY:
            problem, reason = read_reason(payload)
            self.heard_goaway = True
            self._carrier.leaving(problem, reason)
            return
        if len(payload) != PING_BYTES:
            raise LinkError(Violation.MALFORMED, f"PING or PONG of {len(payload)} bytes")
        if kind == PING:
            self._glitch("PING")
            self.sender.put(frame(PONG, 0, payload))
        else:
            self._carrier.ponged(payload)

    def _on_open(self, number: int, message: bytes) -> None:
        if number & 1 == self._parity or number <= self._last_number:
            raise LinkError(Violation.WRONG_STREAM, f"OPEN of stream {number}")
        if self.heard_goaway:
            raise LinkError(Violation.OPENED_WHILE_LEAVING, f"OPEN of stream {number}")
        self._last_number = number
        if self._theirs_open >= self._own.max_streams:
            raise LinkError(Violation.TOO_MANY_STREAMS, f"more than {self._own.max_streams}")
        if not self._openings.take(self._now):
            self.sender.put(reset(number, errno.EAGAIN, "streams are opened too fast"))
            return
        self._theirs_open += 1
        self._carrier.wanted(self._new_stream(number, datagrams=False), message)

    def _on_opened(self, stream: Stream) -> None:
        if not stream.opening or stream.number & 1 != self._parity:
            raise LinkError(Violation.WRONG_STREAM, f"OPENED, stream {stream.number}")
        stream.opening = False
        if stream.near is not None:
            stream.near.opened()

    def _on_end(self, stream: Stream) -> None:
        if stream.heard_end or stream.opening:
            when = "twice" if stream.heard_end else "before OPENED"
            raise LinkError(Violation.SENT_AFTER_END, f"END {when}, stream {stream.number}")
        stream.heard_end = True
        if stream.ended:
            self.forget(stream)
        if stream.near is not None:
            stream.near.ended()

    def _on_reset(self, stream: Stream, problem: int, reason: str) -> None:
        refused = stream.opening and stream.number & 1 == self._parity
        self.forget(stream)
        near = stream.near
        if near is None:
            return
        if refused:
            near.refused(problem or errno.ECONNREFUSED, reason)
        else:
            near.reset(problem or errno.ECONNRESET, reason)

    def _on_window(self, stream_id: int, credit: int) -> None:
        if not stream_id:
            self.sender.credit.grant(credit)
            self.sender.call_short()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            self._on_stray(stream_id)
            return
        stream.outgoing.grant(credit)
        if stream.passing is not None:
            stream.passing.granted(credit)
        if stream.starved and stream.near is not None:
            stream.starved = False
            stream.near.writable()

    def _on_stray(self, stream_id: int) -> None:
        """A frame of a stream that is over, or never was."""
        if self.greeted is None:
            raise LinkError(Violation.NOT_HELLO, "DATA comes first")
        if stream_id & 1 == self._parity:
            was = 0 < stream_id < self._next_number
        else:
            was = 0 < stream_id <= self._last_number
        if not was:
            raise LinkError(Violation.WRONG_STREAM, f"stream {stream_id} was never opened")

    def _new_stream(self, number: int, *, datagrams: bool) -> Stream:
        greeted = self.greeted
        assert greeted is not None
        stream = Stream(
            self,
            number,
            outgoing=greeted.stream_window,
            incoming=self._own.stream_window,
            datagrams=datagrams,
        )
        self.streams[number] = stream
        self.opened += 1
        return stream

    def _give_all_back(self) -> None:
        """Much is kept unread: no stream is to wait for credit that is only due."""
        for stream in self.streams.values():
            credit = stream.incoming.due()
            if credit:
                self.sender.put(window(stream.number, credit))

    def _glitch(self, kind: str) -> None:
        if not self._glitches.take(self._now):
            raise LinkError(Violation.FLOOD, f"too many frames of no use ({kind})")
