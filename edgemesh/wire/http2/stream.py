"""One stream: its states, its two windows, and what waits for room to be sent.

Theory of operation. A proxied request has two streams, the client's and the one to the
endpoint. DATA that comes on one is sent on the other, its *partner*, at once if there is room:
in the windows of the partner and of its connection, and in that connection's output. Otherwise
it waits at the partner. Its sender gets the stream window back only when the bytes have gone
into the partner's socket. So what is kept of a stream is never more than the window that its
sender was given, and a receiver that does not read stops the sender.

States (RFC 9113 section 5.1) are two flags: whether we have ended our direction, and whether
the peer has ended its own. A stream for which both hold, or that was reset, is forgotten.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from edgemesh.wire.http2.block import Block
from edgemesh.wire.http2.codes import (
    END_HEADERS,
    END_STREAM,
    LARGEST_WINDOW,
    MAX_FRAME_BYTES,
    ErrorCode,
    StreamFault,
)
from edgemesh.wire.http2.frames import FRAME_HEADER, header_frames, rst_stream, window_update
from edgemesh.wire.http2.hpack_encoder import EMPTY_TABLE_UPDATE

if TYPE_CHECKING:
    from edgemesh.wire.http2.connection import Connection
    from edgemesh.wire.http2.heads import ResponseHead, Trailers

_header = FRAME_HEADER.pack
_HEAD_FLAGS = END_HEADERS
# What `Stream.expected` is while nothing is declared, and while no body may come at all.
NO_LENGTH: Final = -1
NO_BODY_YET: Final = -2
NO_BODY_EVER: Final = -3

_LAST_HEAD_FLAGS = END_HEADERS | END_STREAM


class Request(Protocol):
    """Whoever has put two streams together, told what does not pass between them by itself."""

    def request_data(self, payload: bytes, ended: bool) -> None:
        """A part of the body, while the client's stream has no partner."""
        ...

    def request_trailers(self, trailers: Trailers) -> None:
        """The request is complete."""
        ...

    def request_reset(self, code: int) -> bool:
        """The client's stream is gone; whether a response had begun on it."""
        ...

    def responded(self, head: ResponseHead, ended: bool) -> None:
        """A head has come, an interim one or the final one."""
        ...

    def response_ended(self) -> None:
        """The last part of the body has been given to the client's stream."""
        ...

    def response_trailers(self, trailers: Trailers) -> None:
        """The response is complete."""
        ...

    def response_reset(self, code: int, *, refused: bool) -> None:
        """The endpoint's stream is gone; when ``refused``, nothing was done on it."""
        ...

    def connection_lost(self, why: str, *, stale: bool) -> None:
        """The endpoint's connection is gone; when ``stale``, others had been served on it."""
        ...


class Stream:
    """One stream of one connection.

    Attributes:
        connection, id: where it is.
        user: the request that it belongs to.
        partner: where its DATA goes, and who gets window back for what is sent here; None
            while that is for the user to do.
        send_window, receive_window: what we may send, and what the peer may.
        owed: received bytes that have gone on, for which window was not given back yet.
        expected: what is missing of the declared length of the body, or one of the above.
        received: bytes of bodies.
        waiting: payloads without room, None when there are none.
        ending: what follows them: nothing yet, the end, or trailers; unset without them.
        local_ended, remote_ended: see above.
    """

    __slots__ = (
        "connection",
        "ending",
        "expected",
        "id",
        "local_ended",
        "owed",
        "partner",
        "receive_window",
        "received",
        "remote_ended",
        "send_window",
        "user",
        "waiting",
    )

    # What may be deleted; mypyc wants to know.
    __deletable__ = ("user",)

    user: Request
    ending: Block | bool

    def __init__(
        self, connection: Connection[Any], stream_id: int, send_window: int, receive_window: int
    ) -> None:
        """Open a stream; its connection does."""
        self.connection = connection
        self.id = stream_id
        self.partner: Stream | None = None
        self.send_window = send_window
        self.receive_window = receive_window
        self.owed = 0
        self.expected = NO_LENGTH
        self.received = 0
        self.waiting: deque[bytes] | None = None
        self.local_ended = False
        self.remote_ended = False

    def send_head(self, block: Block, end: bool) -> None:
        """Send a head; it must come before all data."""
        connection = self.connection
        output = connection.output
        if not output:
            connection.wake()
        if block.is_long or connection.table_update_due:
            self._send_unusual_head(block, end)
        else:
            flags = _LAST_HEAD_FLAGS if end else _HEAD_FLAGS
            output.append(_header(block.length_and_type, flags, self.id))
            output.append(block.data)
        if end:
            self.local_ended = True
            if self.remote_ended:
                connection.close_stream(self)

    def send_trailers(self, block: Block) -> None:
        """End our direction with trailers, after all that waits."""
        if self.waiting is None:
            self.send_head(block, True)
        else:
            self.ending = block

    def send_data(self, payload: bytes, end: bool) -> None:
        """Send a part of the body, now or when there is room."""
        connection = self.connection
        size = len(payload)
        if (
            self.waiting is not None
            or size > self.send_window
            or size > connection.send_window
            or size > connection.room
        ) and (size or self.waiting is not None):
            # An empty frame needs no window, not even when that is negative (section 6.9.2).
            self._wait(payload, end)
            return
        self.send_window -= size
        connection.send_window -= size
        connection.room -= size
        output = connection.output
        if not output:
            connection.wake()
        # Type 0, and the flag END_STREAM is 1.
        output.append(_header(size << 8, end, self.id))
        output.append(payload)
        source = self.partner
        # Nobody waits for window on a stream that has ended, only on others of its connection.
        if source is not None and (
            not source.remote_ended or source.connection.credits_on_delivery
        ):
            source.owe(size, connection)
        if end:
            self.local_ended = True
            if self.remote_ended:
                connection.close_stream(self)

    def reset(self, code: int) -> None:
        """End the stream in both directions; nothing more is told about it."""
        self.connection.write(rst_stream(self.id, code))
        self.connection.remember_reset(self.id)
        self.forget()

    def forget(self) -> None:
        """Let go of a stream that is over, and of what waits on it."""
        if self.waiting is not None:
            source = self.partner
            if source is not None:
                source.lose(sum(map(len, self.waiting)))
            self.waiting = None
            self.connection.waiting.pop(self, None)
        self.connection.close_stream(self)

    def widen(self, increment: int) -> None:
        """Take note of window from the peer (section 6.9).

        Raises:
            StreamFault: it is none, or makes the window too large.
        """
        if not increment:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
        self.send_window += increment
        if self.send_window > LARGEST_WINDOW:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "a window that is too large")
        if self.waiting is not None:
            while self.pump():
                pass

    def owe(self, size: int, via: Connection[Any]) -> None:
        """Count bytes that have gone on into the output of ``via``.

        Window is given back when they are in its socket.
        """
        self.owed += size
        connection = self.connection
        if connection.credits_on_delivery:
            connection.owed += size
        if self.owed >= connection.stream_step or connection.owed >= connection.step:
            via.creditors.append(self)

    def lose(self, size: int) -> None:
        """Count bytes that have gone nowhere, and will not, as if they had gone on."""
        self.owed += size
        if self.connection.credits_on_delivery:
            self.connection.owed += size
        self.give_back()

    def take_back(self, size: int) -> None:
        """Count bytes of a request that go on a second time only once."""
        self.owed -= size
        self.connection.owed -= size

    @property
    def is_open(self) -> bool:
        """Whether the connection knows the stream still."""
        return self.connection.streams.get(self.id) is self

    def give_back(self) -> None:
        """Let the peer send as much again as has gone on."""
        connection = self.connection
        if self.owed >= connection.stream_step and self.is_open and not self.remote_ended:
            connection.write(window_update(self.id, self.owed))
            self.receive_window += self.owed
            self.owed = 0
        connection.give_back()

    def pump(self) -> bool:
        """Send one frame of what waits; whether there may be another."""
        waiting = self.waiting
        assert waiting is not None
        connection = self.connection
        payload = waiting[0]
        room = min(self.send_window, connection.send_window, connection.room, MAX_FRAME_BYTES)
        if room <= 0:
            return False
        if len(payload) > room:
            waiting[0] = payload[room:]
            self._send_waited(payload[:room])
            return True
        waiting.popleft()
        if waiting:
            self._send_waited(payload)
            return True
        ending = self.ending
        self.waiting = None
        del connection.waiting[self]
        self.send_data(payload, ending is True)
        if isinstance(ending, Block):
            self.send_head(ending, True)
        return False

    def _send_waited(self, payload: bytes) -> None:
        waiting, self.waiting = self.waiting, None
        self.send_data(payload, False)
        self.waiting = waiting

    def _wait(self, payload: bytes, end: bool) -> None:
        waiting = self.waiting
        self.ending = end
        if waiting is not None:
            if payload:
                waiting.append(payload)
            return
        self.waiting = deque((payload,))
        self.connection.waiting[self] = None
        # There may be room for a part of it, and then no news of more room would come.
        self.pump()

    def _send_unusual_head(self, block: Block, end: bool) -> None:
        data = block.data
        if self.connection.table_update_due:
            self.connection.table_update_due = False
            data = EMPTY_TABLE_UPDATE + data
        self.connection.output.append(header_frames(self.id, data, end_stream=end))
