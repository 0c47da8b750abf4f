"""What has come for a virtual socket and was not read yet."""

from __future__ import annotations

from collections import deque


class Received:
    """Chunks as they came; readers take bytes across their borders, or one of them whole.

    Attributes:
        held: bytes in all of them.
        chunks: how many there are.
    """

    __slots__ = ("_offset", "_queue", "chunks", "held")

    def __init__(self) -> None:
        """Hold nothing."""
        self._queue: deque[bytes] = deque()
        # Of the first chunk that was read already.
        self._offset = 0
        self.held = 0
        self.chunks = 0

    def put(self, data: bytes) -> None:
        """Add what has come."""
        self._queue.append(data)
        self.held += len(data)
        self.chunks += 1

    def clear(self) -> None:
        """Forget everything."""
        self._queue.clear()
        self._offset = self.held = self.chunks = 0

    def first(self) -> bytes:
        """The first chunk; it stays."""
        return self._queue[0]

    def drop_first(self) -> None:
        """Forget the first chunk, of which nothing was read."""
        self.held -= len(self._queue.popleft())
        self.chunks -= 1

    def view(self, size: int) -> bytes:
        """The first ``size`` bytes, or as many as there are; they stay."""
        first = self._queue[0]
        if not self._offset and len(first) == min(size, self.held):
            return first
        parts = []
        offset = self._offset
        left = size
        for chunk in self._queue:
            part = chunk[offset : offset + left]
            parts.append(part)
            left -= len(part)
            if not left:
                break
            offset = 0
        return b"".join(parts)

    def copy_into(self, view: memoryview, size: int) -> int:
        """Copy as much to ``view``; how much that is."""
        copied = 0
        offset = self._offset
        for chunk in self._queue:
            part = min(len(chunk) - offset, size - copied)
            if offset or part < len(chunk):
                view[copied : copied + part] = memoryview(chunk)[offset : offset + part]
            else:
                view[copied : copied + part] = chunk
            copied += part
            if copied == size:
                break
            offset = 0
        return copied

    def drop(self, count: int) -> None:
        """Forget the first ``count`` bytes."""
        self.held -= count
        offset = self._offset + count
        queue = self._queue
        while queue and offset >= len(queue[0]):
            offset -= len(queue.popleft())
        self._offset = offset
        self.chunks = len(queue)
