"""One HTTP/2 connection, whichever side we are: bytes in, calls and bytes to send out.

It knows no socket. Its owner gives it what was read (`receive`), is woken when there is
something to be written, takes `output`, and says when all of that is in the socket (`written`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

from edgemesh.model.settings import Http2Settings
from edgemesh.wire.http2.codes import (
    DEFAULT_WINDOW,
    END_STREAM,
    LARGEST_WINDOW,
    PADDED,
    ConnectionFault,
    ErrorCode,
    StreamFault,
)
from edgemesh.wire.http2.control_frames import ControlFrameReader
from edgemesh.wire.http2.frames import SETTINGS_ACK, goaway, ping, rst_stream, window_update
from edgemesh.wire.http2.glitches import GlitchBudget
from edgemesh.wire.http2.header_reader import HeaderReader
from edgemesh.wire.http2.peer_settings import PeerSettings
from edgemesh.wire.http2.stream import NO_LENGTH, Stream

Head = TypeVar("Head")

# Streams that we have reset, of which frames may still be under way: so many are remembered.
_RESETS_REMEMBERED = 256


class Connection(ControlFrameReader, Generic[Head]):
    """What servers and clients have in common.

    Attributes:
        wake: is called when `output` is about to get its first bytes.
        output: what is to be written, in order.
        streams: those that are open, by id.
        waiting: those that have data without room, in the order in which they began to wait.
        creditors: streams, of other connections, that get window back once `output` is in the
            socket.
        send_window: of the connection, as the peer gives it.
        room: for DATA in `output`, 0 while the socket is full.
        owed: received bytes for which window was not given back yet.
        step, stream_step: window is given back in portions of at least so much.
        credits_on_delivery: received bytes count against the connection's window until they
            have gone on, not only until they have come.
        table_update_due: see PeerSettings.
        fault: what ended the connection, None while it is well.
        peer_leaves: GOAWAY has come: no more streams.
    """

    __slots__ = (
        "_borne_up_to",
        "_headers",
        "_initial_receive_window",
        "_output_bytes",
        "_pump_due",
        "_receive_window",
        "_resets",
        "_settings_unacknowledged",
        "_stream_window",
        "_window_at_ping",
        "creditors",
        "credits_on_delivery",
        "fault",
        "output",
        "owed",
        "peer",
        "peer_leaves",
        "room",
        "send_window",
        "step",
        "stream_step",
        "streams",
        "table_update_due",
        "waiting",
        "wake",
    )

    def __init__(
        self,
        wake: Callable[[], None],
        headers: HeaderReader[Head],
        settings: Http2Settings,
        *,
        preface: bytes,
        block_limit: int,
        push_allowed: bool,
        credits_on_delivery: bool,
    ) -> None:
        """Prepare a connection; the class that inherits writes its first frames.

        Args:
            wake: see above.
            headers: of the peer's direction.
            settings: limits.
            preface: what the peer sends before its first frame.
            block_limit: bytes of one header block.
            push_allowed: whether the peer may speak of push.
            credits_on_delivery: see above.
        """
        super().__init__(
            preface, block_limit, GlitchBudget(settings.glitch_burst, settings.glitch_rate)
        )
        self.wake = wake
        self._headers = headers
        self.peer = PeerSettings(push_allowed=push_allowed)
        self.output: list[bytes] = []
        self.streams: dict[int, Stream] = {}
        self.waiting: dict[Stream, None] = {}
        self.creditors: list[Stream] = []
        self.send_window = DEFAULT_WINDOW
        self.room = self._output_bytes = settings.output_bytes
        self.owed = 0
        self._stream_window = settings.stream_window_bytes
        self._receive_window = settings.connection_window_bytes
        # Until our SETTINGS are acknowledged the peer goes by the default.
        self._initial_receive_window = DEFAULT_WINDOW
        self._settings_unacknowledged = True
        self.step = settings.connection_window_bytes // 2
        self.stream_step = settings.stream_window_bytes // 2
        self.credits_on_delivery = credits_on_delivery
        self._resets: dict[int, None] = {}
        # Of streams up to here it is not known any more whether we have reset them.
        self._borne_up_to = 0
        self._window_at_ping = self._receive_window
        self._pump_due = False
        self.table_update_due = False
        self.fault: ConnectionFault | None = None
        self.peer_leaves = False

    # For the owner.

    def receive(self, data: bytes, now: float) -> None:
        """Take what was read; afterwards look at `fault`.

        Args:
            data: one or more bytes.
            now: monotonic, in seconds.
        """
        if self.fault is None:
            try:
                self._read(data, now)
            except ConnectionFault as fault:
                self.fail(fault)
            if self._pump_due:
                # Once for all updates that came together.
                self._pump_due = False
                self.pump()

    def written(self) -> None:
        """Everything that was taken from `output` is in the socket: there is room again."""
        self.room = self._output_bytes
        if self.creditors:
            creditors, self.creditors = self.creditors, []
            for stream in creditors:
                stream.give_back()
        if self.waiting:
            self.pump()

    def socket_is_full(self) -> None:
        """Let DATA wait until `written`."""
        self.room = 0

    def fail(self, fault: ConnectionFault) -> None:
        """End the connection with GOAWAY; streams are for the owner to end."""
        self.fault = fault
        self.write(goaway(self.last_peer_stream(), fault.code, fault.reason))

    def release(self) -> None:
        """Give back what the connection has of what is shared: it is closed."""
        self._headers.forget()
        creditors, self.creditors = self.creditors, []
        for stream in creditors:
            stream.give_back()

    # For streams.

    def write(self, data: bytes) -> None:
        """Send a frame that is no subject to flow control."""
        if not self.output:
            self.wake()
        self.output.append(data)

    def close_stream(self, stream: Stream) -> None:
        """Forget a stream that is over."""
        self.streams.pop(stream.id, None)

    def remember_reset(self, stream_id: int) -> None:
        """Bear with what is still under way for a stream that we have reset (section 5.1)."""
        resets = self._resets
        resets[stream_id] = None
        if len(resets) > _RESETS_REMEMBERED:
            oldest = next(iter(resets))
            del resets[oldest]
            self._borne_up_to = max(self._borne_up_to, oldest)

    def give_back(self) -> None:
        """Let the peer send as much again as was done with, if it is enough to tell."""
        if self.owed >= self.step:
            self.write(window_update(0, self.owed))
            if self.credits_on_delivery:
                self._receive_window += self.owed
            self.owed = 0

    def pump(self) -> None:
        """Send what waits, in turns, one frame of each stream, as far as there is room."""
        while self.waiting and self.room > 0 and self.send_window > 0:
            before = self.room
            for stream in list(self.waiting):
                stream.pump()
            if self.room == before:
                # Each waits for window of its own.
                return

    # What the peer sends.

    def on_data(self, data: bytes, begin: int, end: int, flags: int, stream_id: int) -> None:
        """Section 6.1."""
        length = end - begin
        if self.credits_on_delivery:
            self._receive_window -= length
            if self._receive_window < 0:
                raise ConnectionFault(
                    ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window"
                )
        else:
            self.owed += length
            if self.owed >= self.step:
                # So the window is never used up by more than a half and a frame.
                self.give_back()
        stream = self.streams.get(stream_id)
        if stream is None or stream.remote_ended:
            self._on_stray_data(stream_id, stream, length)
            return
        stream.receive_window -= length
        if stream.receive_window < 0:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the stream's window")
        if flags & PADDED:
            begin, end = self.unpad(data, begin, end)
            # Padding goes nowhere, so it is done with at once.
            stream.owe(length - (end - begin), self)
        size = end - begin
        ended = flags & END_STREAM != 0
        if not size and not ended:
            self.glitch("empty DATA frames")
            return
        if stream.expected != NO_LENGTH:
            stream.expected -= size
            if stream.expected < 0 or (ended and stream.expected):
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, "content-length is not that of DATA")
        stream.received += size
        if ended:
            stream.remote_ended = True
        partner = stream.partner
        if partner is None:
            stream.user.request_data(data[begin:end], ended)
        else:
            partner.send_data(data[begin:end], ended)
        if ended:
            self.on_remote_end(stream)

    def on_stream_fault(self, stream_id: int, fault: StreamFault) -> None:
        """Section 5.4.2."""
        self.count_nuisance("broken streams")
        self.write(rst_stream(stream_id, fault.code))
        self.remember_reset(stream_id)
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.forget()
            self.tell_reset(stream, fault.code)

    def _on_stray_data(self, stream_id: int, stream: Stream | None, length: int) -> None:
        """DATA where none is expected."""
        if self.credits_on_delivery:
            self.owed += length
            self.give_back()
        if stream is not None:
            raise StreamFault(ErrorCode.STREAM_CLOSED, "DATA after the end of its stream")
        if self.is_idle(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA before its stream")
        self.on_late_frame(stream_id, "DATA")

    def on_late_frame(self, stream_id: int, kind: str) -> None:
        """DATA or HEADERS of a stream that is over: fine if it was under way when we reset it."""
        if stream_id not in self._resets and stream_id > self._borne_up_to:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, f"{kind} after the end of its stream")
        self.count_nuisance(f"{kind} frames of streams that were reset")

    def on_window_update(self, stream_id: int, increment: int) -> None:
        """Section 6.9."""
        if stream_id:
            stream = self.streams.get(stream_id)
            if stream is not None:
                stream.widen(increment)
            elif self.is_idle(stream_id):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE before its stream")
            return
        if not increment:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
        self.send_window += increment
        if self.send_window > LARGEST_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")
        self._pump_due = True

    def on_rst_stream(self, stream_id: int, code: int) -> None:
        """Section 6.4."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.forget()
            if not self.tell_reset(stream, code):
                # Who has seen a response begin may lose interest in the rest.
                self.count_nuisance("resets")
        elif self.is_idle(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "RST_STREAM before its stream")

    def on_settings(self, payload: bytes) -> None:
        """Section 6.5."""
        before = self.peer.initial_window
        self.peer.update(payload)
        self.table_update_due |= self.peer.take_table_shrunk()
        self.write(SETTINGS_ACK)
        change = self.peer.initial_window - before
        if change:
            # Section 6.9.2.
            for stream in self.streams.values():
                stream.send_window += change
                if stream.send_window > LARGEST_WINDOW:
                    raise ConnectionFault(
                        ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS make a window too large"
                    )
            self._pump_due = True

    def on_settings_ack(self) -> None:
        """What the peer may send on the streams that are open changes with it."""
        if not self._settings_unacknowledged:
            self.glitch("answers to no SETTINGS")
            return
        self._settings_unacknowledged = False
        change = self._stream_window - self._initial_receive_window
        self._initial_receive_window = self._stream_window
        for stream in self.streams.values():
            stream.receive_window += change

    def on_ping(self, payload: bytes) -> None:
        """Section 6.7."""
        # Clients of gRPC measure the way with a PING after data: those are no flood.
        window = self._receive_window - self.owed
        if window == self._window_at_ping:
            self.glitch("PING frames")
        self._window_at_ping = window
        self.write(ping(payload, ack=True))

    def on_pong(self, payload: bytes) -> None:  # noqa: ARG002 - who asks looks at it
        """Nobody has asked."""
        self.glitch("answers to no PING")

    # For the class that inherits.

    @abstractmethod
    def last_peer_stream(self) -> int:
        """The highest stream that the peer has opened and we have taken."""
        ...

    @abstractmethod
    def count_nuisance(self, kind: str) -> None:
        """Take note of what a peer does to its own streams, if that could be an attack.

        Raises:
            ConnectionFault: there was too much of it.
        """
        ...

    @abstractmethod
    def is_idle(self, stream_id: int) -> bool:
        """Whether a stream was never opened."""
        ...

    @abstractmethod
    def on_remote_end(self, stream: Stream) -> None:
        """The peer has ended its direction with DATA, whose payload has gone on."""
        ...

    @abstractmethod
    def tell_reset(self, stream: Stream, code: int) -> bool:
        """A stream is gone by the peer's word or fault; it is forgotten already.

        Returns:
            Whether a response had begun on it.
        """
        ...
