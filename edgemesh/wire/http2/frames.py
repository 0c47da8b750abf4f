"""Writing frames (RFC 9113 section 6)."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from edgemesh.wire.http2.codes import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MAX_FRAME_BYTES,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)

# Length (24 bits) and type as one number, flags, stream.
FRAME_HEADER = Struct(">LBL")
_header = FRAME_HEADER.pack
_with_number = Struct(">LBLL").pack
_setting = Struct(">HL").pack
_goaway = Struct(">LL").pack

SETTINGS_ACK = _header(SETTINGS, ACK, 0)
# Debug data is for people; more would only be traffic.
_DEBUG_BYTES = 256


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Any frame whose payload is at hand."""
    return _header(len(payload) << 8 | kind, flags, stream_id) + payload


def window_update(stream_id: int, increment: int) -> bytes:
    """Section 6.9."""
    return _with_number(4 << 8 | WINDOW_UPDATE, 0, stream_id, increment)


def rst_stream(stream_id: int, code: int) -> bytes:
    """Section 6.4."""
    return _with_number(4 << 8 | RST_STREAM, 0, stream_id, code)


def goaway(last_stream_id: int, code: int, reason: str = "") -> bytes:
    """Section 6.8."""
    debug = reason.encode("ascii", "replace")[:_DEBUG_BYTES]
    return frame(GOAWAY, 0, 0, _goaway(last_stream_id, code) + debug)


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """Section 6.5."""
    return frame(SETTINGS, 0, 0, b"".join(_setting(name, value) for name, value in values))


def ping(payload: bytes, *, ack: bool) -> bytes:
    """Section 6.7; ``payload`` is 8 bytes."""
    return frame(PING, ACK if ack else 0, 0, payload)


def header_frames(stream_id: int, block: bytes, *, end_stream: bool) -> bytes:
    """HEADERS with as many CONTINUATIONs as the block needs (sections 6.2 and 6.10)."""
    flags = END_STREAM if end_stream else 0
    if len(block) <= MAX_FRAME_BYTES:
        return frame(HEADERS, flags | END_HEADERS, stream_id, block)
    pieces = [
        block[begin : begin + MAX_FRAME_BYTES] for begin in range(0, len(block), MAX_FRAME_BYTES)
    ]
    return b"".join(
        (
            frame(HEADERS, flags, stream_id, pieces[0]),
            *(frame(CONTINUATION, 0, stream_id, piece) for piece in pieces[1:-1]),
            frame(CONTINUATION, END_HEADERS, stream_id, pieces[-1]),
        )
    )
