"""Lines of bounded length out of a stream of bytes."""

from __future__ import annotations


class LineSplitter:
    """Cuts a byte stream at each newline and never holds more than the limit.

    Args:
        limit: bytes that a line may have, its newline not counted.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._searched = 0
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | None]:
        """Take bytes; return the lines that end in them, without their newlines.

        A line above the limit is None in its place: its bytes are dropped as they come, so
        that the sender can be told and the next line be read.
        """
        self._held += data
        lines: list[bytes | None] = []
        start = 0
        while (end := self._held.find(b"\n", max(start, self._searched))) >= 0:
            if self._skipping:
                self._skipping = False
            else:
                lines.append(self._cut(start, end))
            start = end + 1
        del self._held[:start]
        if self._skipping or len(self._held) > self._limit:
            if not self._skipping:
                lines.append(None)
            self._skipping = True
            self._held.clear()
        self._searched = len(self._held)
        return lines

    def _cut(self, start: int, end: int) -> bytes | None:
        return bytes(self._held[start:end]) if end - start <= self._limit else None
