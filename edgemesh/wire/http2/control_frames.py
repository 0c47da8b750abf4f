"""Reading the frames that are neither DATA nor headers: their form (RFC 9113 section 6)."""

from __future__ import annotations

from abc import abstractmethod

from edgemesh.wire.http2.codes import (
    ACK,
    GOAWAY,
    LARGEST_STREAM_ID,
    LARGEST_WINDOW,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ConnectionFault,
    ErrorCode,
    StreamFault,
)
from edgemesh.wire.http2.frame_reader import FrameReader

_PING_BYTES = 8
_PRIORITY_BYTES = 5
_GOAWAY_BYTES = 8
_NUMBER_BYTES = 4


class ControlFrameReader(FrameReader):
    """A FrameReader that takes control frames apart; what they mean is for who inherits."""

    __slots__ = ()

    @abstractmethod
    def on_window_update(self, stream_id: int, increment: int) -> None:
        """Section 6.9; stream 0 is the connection."""
        ...

    @abstractmethod
    def on_rst_stream(self, stream_id: int, code: int) -> None:
        """Section 6.4."""
        ...

    @abstractmethod
    def on_settings(self, payload: bytes) -> None:
        """Section 6.5; the values are not looked at yet."""
        ...

    @abstractmethod
    def on_settings_ack(self) -> None:
        """The peer goes by our SETTINGS from now on."""
        ...

    @abstractmethod
    def on_ping(self, payload: bytes) -> None:
        """Section 6.7, to be answered."""
        ...

    @abstractmethod
    def on_pong(self, payload: bytes) -> None:
        """An answer to a PING of ours, or to none."""
        ...

    @abstractmethod
    def on_goaway(self, last_stream_id: int, code: int) -> None:
        """The peer takes no more streams, and none above ``last_stream_id``."""
        ...

    def on_control(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Look at the form of a frame, and make its call."""
        if kind == WINDOW_UPDATE:
            increment = _number(payload, "WINDOW_UPDATE") & LARGEST_WINDOW
            self.on_window_update(stream_id, increment)
        elif kind == RST_STREAM:
            code = _number(payload, "RST_STREAM")
            if not stream_id:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "RST_STREAM without a stream")
            self.on_rst_stream(stream_id, code)
        elif kind == SETTINGS:
            _on_connection(stream_id, "SETTINGS")
            if not flags & ACK:
                self.glitch("SETTINGS frames")
                self.on_settings(payload)
            elif payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS with an answer")
            else:
                self.on_settings_ack()
        elif kind == PING:
            _on_connection(stream_id, "PING")
            if len(payload) != _PING_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING of a wrong length")
            if flags & ACK:
                self.on_pong(payload)
            else:
                self.on_ping(payload)
        elif kind == GOAWAY:
            _on_connection(stream_id, "GOAWAY")
            if len(payload) < _GOAWAY_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY that is cut off")
            self.glitch("GOAWAY frames")
            last_stream_id = int.from_bytes(payload[:4], "big") & LARGEST_STREAM_ID
            self.on_goaway(last_stream_id, int.from_bytes(payload[4:8], "big"))
        elif kind == PRIORITY:
            # Section 5.3.2: priorities mean nothing any more.
            if not stream_id:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY without a stream")
            self.glitch("PRIORITY frames")
            if len(payload) != _PRIORITY_BYTES:
                raise StreamFault(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY of a wrong length")
        elif kind == PUSH_PROMISE:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE, which was not allowed")
        else:
            # Section 5.5: others are passed over.
            self.glitch("frames of unknown types")


def _number(payload: bytes, kind: str) -> int:
    if len(payload) != _NUMBER_BYTES:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"{kind} of a wrong length")
    return int.from_bytes(payload, "big")


def _on_connection(stream_id: int, kind: str) -> None:
    if stream_id:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{kind} on a stream")
