"""Find the end of a chunked body: RFC 9112 section 7.1, with nothing tolerated.

The body goes on byte for byte, so nothing is decoded: only where it ends is worked out, and
that every reader would find the same end. What came of a line that is cut off at the end of a
buffer is kept until its rest comes; of data only the number of bytes to go is.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from edgemesh.model.settings import HttpSettings
from edgemesh.wire.http1.fields import NAME_CHARACTERS, FieldNames, read_fields
from edgemesh.wire.http1.framing import LARGEST_LENGTH
from edgemesh.wire.http1.heads import MalformedBody, MalformedHead

_TOKEN: Final = rb"[%s]+" % NAME_CHARACTERS.encode()
_QUOTED: Final = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
# RFC 9112 section 7.1.1, without the blanks that a bad sender may put in.
_LINE: Final = rb"([0-9A-Fa-f]{1,16})(?:;%s(?:=(?:%s|%s))?)*\r\n" % (_TOKEN, _TOKEN, _QUOTED)
_PART: Final = rb"(?:[0-9A-Fa-f]{1,16}(?:;[\t\x20-\x7e\x80-\xff]*)?\r?)?"

# RFC 9110 section 6.5.1: what is needed before the content, or decides where it goes.
_FORBIDDEN_TRAILERS: Final = frozenset(
    {
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "max-forwards",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# Lines may be longer than data in sum: what Go's net/http counts against a client that sends
# next to nothing but extensions (CVE-2023-39326). So much of each line is not counted.
_USUAL_LINE: Final = 16


class _Part(Enum):
    """What is read next. The CRLF behind data is read with the line that follows."""

    FIRST_LINE = 0
    LINE = 1
    TRAILER = 2
    END = 3


_match_line: Final = {
    _Part.FIRST_LINE: re.compile(_LINE).match,
    _Part.LINE: re.compile(rb"\r\n" + _LINE).match,
}
_may_become_line: Final = {
    _Part.FIRST_LINE: re.compile(_PART).fullmatch,
    _Part.LINE: re.compile(rb"(?:\r(?:\n%s)?)?" % _PART).fullmatch,
}


class ChunkScanner:
    """Follows one chunked body through the buffers it comes in.

    Args:
        settings: the limits.
        names: of fields, those of the connection's HeadReader for preference.
    """

    __slots__ = (
        "_names",
        "_overhead",
        "_part",
        "_pending",
        "_remaining",
        "_settings",
        "_trailer_bytes",
        "_trailers",
    )

    def __init__(self, settings: HttpSettings, names: FieldNames | None = None) -> None:
        self._settings = settings
        self._names = FieldNames(settings.head_cache_entries) if names is None else names
        self._part = _Part.FIRST_LINE
        self._remaining = 0  # bytes of data to come
        self._pending = bytearray()  # a line that was cut off
        self._overhead = 0  # by how much lines have been longer than data
        self._trailers = 0
        self._trailer_bytes = 0

    def feed(self, data: bytes | bytearray, start: int, end: int) -> int:
        """Go on with ``data[start:end]``.

        Returns:
            The index behind the body's last byte, or -1 when all of it belongs to the body and
            more comes.

        Raises:
            MalformedBody: it is refused, as early as the bytes tell.
        """
        position = start
        if self._pending:
            pending = self._pending
            before = len(pending)
            # One byte more than a line may have, so that it is noticed.
            pending += data[start : min(end, start + self._longest_line() + 1 - before)]
            after = self._read(pending, 0, len(pending))
            if after < 0:
                return -1
            pending.clear()
            position = start + after - before
        while self._part is not _Part.END:
            if self._remaining:
                available = end - position
                if self._remaining >= available:
                    self._remaining -= available
                    return -1
                position += self._remaining
                self._remaining = 0
            after = self._read(data, position, end)
            if after < 0:
                self._pending += data[position:end]
                return -1
            position = after
        return position

    def _longest_line(self) -> int:
        """Of the line that is read, with the line ends before and behind it."""
        if self._part is _Part.TRAILER:
            return self._settings.max_head_bytes - self._trailer_bytes
        return self._settings.max_chunk_line_bytes + 4

    def _read(self, buffer: bytes | bytearray, position: int, end: int) -> int:
        """Read one line at a position: the index behind it, or -1 when it is incomplete."""
        longest = self._longest_line()
        if self._part is _Part.TRAILER:
            after = self._read_trailer(buffer, position, end)
        else:
            after = self._read_chunk_line(buffer, position, end)
        if (end if after < 0 else after) - position > longest:
            raise MalformedBody("line-too-long")
        return after

    def _read_chunk_line(self, buffer: bytes | bytearray, position: int, end: int) -> int:
        found = _match_line[self._part](buffer, position, end)
        if found is None:
            if not _may_become_line[self._part](buffer, position, end):
                raise MalformedBody("chunk-line")
            return -1
        size = int(found[1], 16)
        if size > LARGEST_LENGTH:
            raise MalformedBody("chunk-size")
        self._overhead += found.end() - position - _USUAL_LINE - 2 * size
        if self._overhead < 0:
            self._overhead = 0
        elif self._overhead > self._settings.max_chunk_overhead_bytes:
            raise MalformedBody("chunk-overhead")
        self._remaining = size
        self._part = _Part.LINE if size else _Part.TRAILER
        return found.end()

    def _read_trailer(self, buffer: bytes | bytearray, position: int, end: int) -> int:
        line_end = buffer.find(b"\n", position, end)
        if line_end < 0:
            return -1
        line = str(buffer[position : line_end + 1], "latin-1")
        if line == "\r\n":
            self._part = _Part.END
            return line_end + 1
        if not line.endswith("\r\n"):
            raise MalformedBody("bare-lf")
        self._trailers += 1
        self._trailer_bytes += len(line)
        if self._trailers > self._settings.max_fields:
            raise MalformedBody("too-many-trailers")
        try:
            ((name, _),) = read_fields([line[:-2]], self._names)
        except MalformedHead as bad:
            raise MalformedBody(bad.reason) from None
        if name in _FORBIDDEN_TRAILERS:
            raise MalformedBody("forbidden-trailer")
        return line_end + 1
