"""Frames of a link: what two ends of the mesh say to each other on one connection.

A frame is a header of 8 bytes and a payload. The header is the stream (32 bits, big endian; 0 is
the link itself), what kind of frame it is (8 bits) and how long the payload is (24 bits)::

    DATA 0     bytes of a stream, or one datagram
    OPEN 1     a Message that says what the stream is for (`wire.link.opening`)
    END 2      the sender has nothing more to send on the stream
    RESET 3    the stream is over: errno of Linux (16 bits), and why, in UTF-8
    WINDOW 4   so many bytes more may be sent (32 bits), on a stream or on all of them together
    OPENED 5   the stream that was asked for is there
    PING 6     8 bytes that the other end sends back in a
    PONG 7
    HELLO 8    first of all, each way: JSON, see `Hello`
    GOAWAY 9   no streams are opened any more: errno (0 for none) and why, as in RESET

The dialler's streams are odd, the listener's even, and each takes higher ones as time goes by. The
reader makes no object for a frame: what is in the buffer is looked at where it lies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum
from struct import Struct
from typing import Annotated

import msgspec
from msgspec import Meta

HEADER_BYTES = 8
VERSION = 1

DATA = 0
OPEN = 1
END = 2
RESET = 3
WINDOW = 4
OPENED = 5
PING = 6
PONG = 7
HELLO = 8
GOAWAY = 9

LARGEST_STREAM_ID = 2**32 - 1
LARGEST_CREDIT = 2**31 - 1
PING_BYTES = 8
# A datagram is never split, so DATA may be as long as the longest of them in any case.
DATAGRAM_BYTES = 65535
# Of any other frame than DATA: the longest is OPEN, and of that the names within.
CONTROL_BYTES = 16384
_REASON_BYTES = 256

FRAME_HEADER = Struct(">LL")
_header = FRAME_HEADER.pack
_unpack = FRAME_HEADER.unpack_from
_LENGTH = 0xFFFFFF
_ERRNO = Struct(">H")
_WITH_CREDIT = Struct(">LLL").pack
_CREDIT = Struct(">L")


class Violation(StrEnum):
    """Rules of a link that its other end can break."""

    FRAME_TOO_LARGE = "frame-too-large"
    UNKNOWN_FRAME = "unknown-frame"
    MALFORMED = "malformed"
    NOT_HELLO = "not-hello"
    UNKNOWN_VERSION = "unknown-version"
    WRONG_NODE = "wrong-node"
    WRONG_STREAM = "wrong-stream"
    TOO_MANY_STREAMS = "too-many-streams"
    OPENED_WHILE_LEAVING = "opened-while-leaving"
    SENT_AFTER_END = "sent-after-end"
    WINDOW_EXCEEDED = "window-exceeded"
    TOO_MUCH_CREDIT = "too-much-credit"
    FLOOD = "flood"
    UNREAD = "unread"


class LinkError(Exception):
    """The other end has broken a rule: its link, and nothing else, is over.

    Args:
        violation: which rule.
        detail: what exactly, for people.
    """

    def __init__(self, violation: Violation, detail: str) -> None:
        super().__init__(f"{violation}: {detail}")
        self.violation = violation
        self.detail = detail


_Window = Annotated[int, Meta(ge=16384, le=LARGEST_CREDIT)]


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """What an end says of itself before anything else.

    Args:
        version: of this protocol.
        node: its name, which must be that of its certificate.
        max_frame: the longest DATA that it takes of streams of bytes.
        stream_window: bytes that it takes of a stream before it gives more credit.
        link_window: the same of all streams together.
        max_streams: that the other end may have open.
    """

    version: int
    node: str
    max_frame: Annotated[int, Meta(ge=1024, le=_LENGTH)]
    stream_window: _Window
    link_window: _Window
    max_streams: Annotated[int, Meta(ge=1)]


_hello_decoder = msgspec.json.Decoder(Hello)


def data_header(stream_id: int, size: int) -> bytes:
    """What stands before ``size`` bytes of a stream; DATA is 0."""
    return _header(stream_id, size)


def frame(kind: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Any frame whose payload is at hand."""
    return _header(stream_id, kind << 24 | len(payload)) + payload


def window(stream_id: int, credit: int) -> bytes:
    """WINDOW: the other end may send ``credit`` bytes more."""
    return _WITH_CREDIT(stream_id, WINDOW << 24 | _CREDIT.size, credit)


def reset(stream_id: int, problem: int, reason: str = "") -> bytes:
    """RESET with an errno and a reason."""
    return frame(RESET, stream_id, _reasoned(problem, reason))


def goaway(problem: int, reason: str = "") -> bytes:
    """GOAWAY with an errno, 0 for none, and a reason."""
    return frame(GOAWAY, 0, _reasoned(problem, reason))


def hello(of: Hello) -> bytes:
    """HELLO."""
    return frame(HELLO, 0, msgspec.json.encode(of))


def _reasoned(problem: int, reason: str) -> bytes:
    # Cut at a whole character.
    text = reason.encode("utf-8", "replace")[:_REASON_BYTES].decode("utf-8", "ignore")
    return _ERRNO.pack(problem) + text.encode()


def read_reason(payload: bytes) -> tuple[int, str]:
    """The errno and the reason of a RESET or a GOAWAY.

    Raises:
        LinkError: there is no errno.
    """
    if len(payload) < _ERRNO.size:
        raise LinkError(Violation.MALFORMED, "a reason without its number")
    (problem,) = _ERRNO.unpack_from(payload)
    text = payload[_ERRNO.size :][:_REASON_BYTES].decode("utf-8", "replace")
    return problem, "".join(c if c.isprintable() else "?" for c in text)


def read_credit(payload: bytes) -> int:
    """The credit of a WINDOW.

    Raises:
        LinkError: it is none, or more than there can be.
    """
    if len(payload) != _CREDIT.size:
        raise LinkError(Violation.MALFORMED, f"WINDOW of {len(payload)} bytes")
    credit: int = _CREDIT.unpack(payload)[0]
    if not 0 < credit <= LARGEST_CREDIT:
        raise LinkError(Violation.TOO_MUCH_CREDIT, f"WINDOW of {credit}")
    return credit


def read_hello(payload: bytes) -> Hello:
    """What the other end says of itself.

    Raises:
        LinkError: it is not understood, or of another version.
    """
    try:
        said = _hello_decoder.decode(payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise LinkError(Violation.MALFORMED, f"HELLO: {error}") from error
    if said.version != VERSION:
        raise LinkError(Violation.UNKNOWN_VERSION, f"{said.version}, not {VERSION}")
    return said


class FrameReader(ABC):
    """The reading side of a link; what frames mean is for the class that inherits."""

    __slots__ = ("_largest_data",)

    def __init__(self, max_frame: int) -> None:
        """Expect frames of up to ``max_frame`` bytes, or one datagram."""
        self._largest_data = max(max_frame, DATAGRAM_BYTES)

    @abstractmethod
    def on_data(self, stream_id: int, data: memoryview, begin: int, end: int) -> None:
        """DATA, whose payload is ``data[begin:end]`` until this returns."""
        ...

    @abstractmethod
    def on_control(self, kind: int, stream_id: int, payload: bytes) -> None:
        """Any other kind of frame that there is."""
        ...

    def read(self, data: memoryview, size: int) -> int:
        """Make the calls for all frames of ``data[:size]`` that are complete.

        Returns:
            How many bytes they were. What is left is to be shown again with more behind it.

        Raises:
            LinkError: the other end has broken a rule.
        """
        position = 0
        while (begin := position + HEADER_BYTES) <= size:
            stream_id, kind_and_length = _unpack(data, position)
            if kind_and_length <= _LENGTH:
                if kind_and_length > self._largest_data:
                    raise LinkError(Violation.FRAME_TOO_LARGE, f"DATA of {kind_and_length} bytes")
                end = begin + kind_and_length
                if end > size:
                    break
                self.on_data(stream_id, data, begin, end)
            else:
                kind = kind_and_length >> 24
                length = kind_and_length & _LENGTH
                if kind > GOAWAY:
                    raise LinkError(Violation.UNKNOWN_FRAME, f"a frame of kind {kind}")
                if length > CONTROL_BYTES:
                    raise LinkError(
                        Violation.FRAME_TOO_LARGE, f"a frame of kind {kind}, {length} bytes"
                    )
                end = begin + length
                if end > size:
                    break
                self.on_control(kind, stream_id, bytes(data[begin:end]))
            position = end
        return position
