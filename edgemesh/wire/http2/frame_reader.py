"""Reading frames: from bytes as they come to calls (RFC 9113 sections 4 and 6).

The loop makes no object for a frame: what is in the buffer is looked at where it lies, and
DATA and HEADERS, nearly all of the traffic, are told apart first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from edgemesh.wire.http2.codes import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER_BYTES,
    HEADERS,
    LARGEST_STREAM_ID,
    MAX_FRAME_BYTES,
    PADDED,
    PRIORITY_FLAG,
    SETTINGS,
    ConnectionFault,
    ErrorCode,
    StreamFault,
)
from edgemesh.wire.http2.frames import FRAME_HEADER
from edgemesh.wire.http2.glitches import GlitchBudget

_unpack = FRAME_HEADER.unpack_from
_PRIORITY_BYTES = 5
# Constants of the loop, where a name costs less than an expression.
_WHOLE_AND_LAST = END_HEADERS | END_STREAM
_LARGEST_LENGTH_AND_TYPE = MAX_FRAME_BYTES << 8 | 0xFF


class _OpenBlock:
    """A header block of which CONTINUATIONs are to come."""

    __slots__ = ("ended", "fragments", "since", "size", "stream_id")

    def __init__(self, stream_id: int, fragment: bytes, since: float, *, ended: bool) -> None:
        self.stream_id = stream_id
        self.since = since
        self.ended = ended
        self.fragments = [fragment]
        self.size = len(fragment)


class FrameReader(ABC):
    """The reading side of one connection; what frames mean is for the class that inherits."""

    __slots__ = ("_block_limit", "_glitches", "_needed", "_now", "_open_block", "_preface", "_rest")

    def __init__(self, preface: bytes, block_limit: int, glitches: GlitchBudget) -> None:
        """Expect the beginning of a connection.

        Args:
            preface: what comes before the first frame.
            block_limit: bytes of one header block, encoded.
            glitches: what useless frames are counted against.
        """
        self._preface: bytes | None = preface
        self._block_limit = block_limit
        self._glitches = glitches
        self._open_block: _OpenBlock | None = None
        self._rest = bytearray()
        self._needed = 0
        self._now = 0.0

    @abstractmethod
    def on_data(self, data: bytes, begin: int, end: int, flags: int, stream_id: int) -> None:
        """DATA, whose payload is ``data[begin:end]``, padding included."""
        ...

    @abstractmethod
    def on_headers(self, stream_id: int, block: bytes, ended: bool) -> None:
        """A complete header block."""
        ...

    @abstractmethod
    def on_control(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Any other frame, those of unknown types too."""
        ...

    @abstractmethod
    def on_stream_fault(self, stream_id: int, fault: StreamFault) -> None:
        """What one of the others has raised."""
        ...

    def _read(self, data: bytes, now: float) -> None:
        """Take bytes as they came, and make the calls for all frames that are complete.

        Raises:
            ConnectionFault: the peer has broken a rule.
        """
        self._now = now
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._needed:
                return
            data = bytes(rest)
            rest.clear()
        position = 0
        if self._preface is not None:
            position = self._read_preface(data, self._preface)
        end = len(data)
        while (begin := position + FRAME_HEADER_BYTES) <= end:
            length_and_type, flags, stream_id = _unpack(data, position)
            if length_and_type > _LARGEST_LENGTH_AND_TYPE:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame that is too large")
            stop = begin + (length_and_type >> 8)
            if stop > end:
                break
            position = stop
            kind = length_and_type & 0xFF
            stream_id &= LARGEST_STREAM_ID
            if self._open_block is not None and kind != CONTINUATION:
                raise ConnectionFault(
                    ErrorCode.PROTOCOL_ERROR, "a frame in the middle of a header block"
                )
            try:
                if kind == DATA:
                    self.on_data(data, begin, stop, flags, stream_id)
                elif kind == HEADERS:
                    if flags == _WHOLE_AND_LAST:
                        self.on_headers(stream_id, data[begin:stop], True)
                    elif flags == END_HEADERS:
                        self.on_headers(stream_id, data[begin:stop], False)
                    else:
                        self._on_unusual_headers(data, begin, stop, flags, stream_id)
                elif kind == CONTINUATION:
                    self._continue_block(stream_id, data[begin:stop], flags)
                else:
                    self.on_control(kind, flags, stream_id, data[begin:stop])
            except StreamFault as fault:
                self.on_stream_fault(stream_id, fault)
        if position < end:
            rest += data[position:]
            self._needed = FRAME_HEADER_BYTES
            if len(rest) >= FRAME_HEADER_BYTES:
                self._needed += int.from_bytes(rest[:3], "big")

    @property
    def in_head_since(self) -> float | None:
        """When a header block began that is not complete, None when there is none.

        The preface counts as one that has always been begun.
        """
        if self._open_block is not None:
            return self._open_block.since
        return None if self._preface is None else 0.0

    def unpad(self, data: bytes, begin: int, end: int) -> tuple[int, int]:
        """Where a padded payload begins and ends without its padding (section 6.1).

        Raises:
            ConnectionFault: the padding is longer than the payload.
        """
        if begin == end:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "padding without its length")
        padding = data[begin]
        begin += 1
        if padding > end - begin:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding longer than its frame")
        return begin, end - padding

    def glitch(self, kind: str) -> None:
        """Take note of something allowed and useless.

        Raises:
            ConnectionFault: there was too much of it.
        """
        self._glitches.spend(self._now, kind)

    def _read_preface(self, data: bytes, preface: bytes) -> int:
        """Where frames begin, once the preface and the first frame's header have come."""
        size = len(preface)
        if data[:size] != preface[: len(data)]:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 preface")
        if len(data) < size + FRAME_HEADER_BYTES:
            # Not consumed: all of it is looked at again.
            self._rest += data
            self._needed = size + FRAME_HEADER_BYTES
            return len(data)
        length_and_type, flags, _ = _unpack(data, size)
        if length_and_type & 0xFF != SETTINGS or flags & ACK:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no SETTINGS at the beginning")
        self._preface = None
        return size

    def _on_unusual_headers(
        self, data: bytes, begin: int, end: int, flags: int, stream_id: int
    ) -> None:
        """HEADERS with padding or priority, which means nothing any more, or with more to come."""
        if flags & PADDED:
            begin, end = self.unpad(data, begin, end)
        if flags & PRIORITY_FLAG:
            begin += _PRIORITY_BYTES
            if begin > end:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS that is cut off")
        ended = flags & END_STREAM != 0
        if flags & END_HEADERS:
            self.on_headers(stream_id, data[begin:end], ended)
        else:
            self._open_block = _OpenBlock(stream_id, data[begin:end], self._now, ended=ended)

    def _continue_block(self, stream_id: int, fragment: bytes, flags: int) -> None:
        block = self._open_block
        if block is None or stream_id != block.stream_id:
            raise ConnectionFault(
                ErrorCode.PROTOCOL_ERROR, "CONTINUATION of another header block, or of none"
            )
        self.glitch("CONTINUATION frames")
        block.size += len(fragment)
        if block.size > self._block_limit:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header block without end")
        block.fragments.append(fragment)
        if flags & END_HEADERS:
            self._open_block = None
            self.on_headers(stream_id, b"".join(block.fragments), block.ended)
