"""Find the end of a chunked body: RFC 9112 section 7.1, with nothing tolerated.

The body goes on byte for byte, so nothing is decoded: only where it ends is worked out, and
that every reader would find the same end. What came of a line that is cut off at the end of a
buffer is kept until its rest comes; of data only the number of bytes to go is.
"""

from __future__ import annotations

import re
from typing import Final

from edgemesh.model.settings import HttpSettings
from edgemesh.wire.http1.fields import NAME_CHARACTERS, read_field
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


# A chunk's first line, and a line with the CRLF that ends the data of the chunk before it.
_match_first: Final = re.compile(_LINE).match
_match_next: Final = re.compile(rb"\r\n" + _LINE).match
_may_become_first: Final = re.compile(_PART).fullmatch
_may_become_next: Final = re.compile(rb"(?:\r(?:\n%s)?)?" % _PART).fullmatch


class ChunkScanner:
    """Follows one chunked body through the buffers it comes in.

    Args:
        settings: the limits.
    """

    __slots__ = (
        "_in_data",
        "_in_trailers",
        "_over",
        "_overhead",
        "_pending",
        "_remaining",
        "_settings",
        "_trailer_bytes",
        "_trailers",
    )

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._remaining = 0  # bytes of data to come
        self._in_data = False  # a chunk has begun, so CRLF comes before the next line
        self._in_trailers = False
        self._over = False
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
        if self._pending:
            start = self._finish_line(data, start, end)
            if start < 0:
                return -1
        while not self._over:
            remaining = self._remaining
            if remaining:
                available = end - start
                if remaining >= available:
                    self._remaining = remaining - available
                    return -1
                start += remaining
                self._remaining = 0
            after = self._read_line(data, start, end)
            if after < 0:
                self._pending += data[start:end]
                return -1
            start = after
        return start

    def _finish_line(self, data: bytes | bytearray, start: int, end: int) -> int:
        """Read the line that was cut off: the index behind it, or -1 if it still is."""
        settings = self._settings
        longest = settings.max_head_bytes if self._in_trailers else settings.max_chunk_line_bytes
        pending = self._pending
        before = len(pending)
        # One byte more, so that a line that is too long is seen to be.
        pending += data[start : min(end, start + longest + 1)]
        after = self._read_line(pending, 0, len(pending))
        if after < 0:
            return -1
        pending.clear()
        return start + after - before

    def _read_line(self, buffer: bytes | bytearray, start: int, end: int) -> int:
        """Read one line: the index behind it, or -1 when it is cut off."""
        if self._in_trailers:
            return self._read_trailer(buffer, start, end)
        match = _match_next if self._in_data else _match_first
        found = match(buffer, start, end)
        if found is None:
            may_become = _may_become_next if self._in_data else _may_become_first
            if not may_become(buffer, start, end):
                raise MalformedBody("chunk-line")
            self._check_line_length(end - start)
            return -1
        after = found.end()
        self._check_line_length(after - start)
        size = int(found[1], 16)
        if size > LARGEST_LENGTH:
            raise MalformedBody("chunk-size")
        overhead = self._overhead + after - start - _USUAL_LINE - 2 * size
        if overhead > self._settings.max_chunk_overhead_bytes:
            raise MalformedBody("chunk-overhead")
        self._overhead = max(0, overhead)
        self._remaining = size
        self._in_data = True
        self._in_trailers = not size
        return after

    def _check_line_length(self, length: int) -> None:
        if length > self._settings.max_chunk_line_bytes:
            raise MalformedBody("chunk-line-too-long")

    def _read_trailer(self, buffer: bytes | bytearray, start: int, end: int) -> int:
        line_feed = buffer.find(b"\n", start, end)
        after = line_feed + 1 or end
        if self._trailer_bytes + after - start > self._settings.max_head_bytes:
            raise MalformedBody("trailers-too-long")
        if line_feed < 0:
            return -1
        line = str(buffer[start:after], "latin-1")
        if line == "\r\n":
            self._over = True
            return after
        if not line.endswith("\r\n"):
            raise MalformedBody("bare-lf")
        self._trailers += 1
        if self._trailers > self._settings.max_fields:
            raise MalformedBody("too-many-trailers")
        self._trailer_bytes += len(line)
        _check_trailer(line[:-2])
        return after


def _check_trailer(line: str) -> None:
    try:
        name, _ = read_field(line)
    except MalformedHead as bad:
        raise MalformedBody(bad.reason) from None
    if name in _FORBIDDEN_TRAILERS:
        raise MalformedBody("forbidden-trailer")
