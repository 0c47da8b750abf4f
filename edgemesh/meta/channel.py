"""Lines over one stream: what both ends of the metamanager's socket are made of."""

from __future__ import annotations

from collections import deque

import trio

from edgemesh.meta.errors import Code, RefusedError
from edgemesh.wire.lines import LineSplitter

_RECEIVED_AT_ONCE = 65536


class Channel:
    """Newline-delimited JSON in both directions.

    One task receives; any number may send, each line whole.

    Args:
        stream: connected; the channel does not own it.
        limit: bytes of the longest line that is taken.
        timeout_seconds: the longest that the peer may take to make room for a line.
    """

    def __init__(self, stream: trio.abc.Stream, limit: int, timeout_seconds: float) -> None:
        self._stream = stream
        self._limit = limit
        self._timeout_seconds = timeout_seconds
        self._splitter = LineSplitter(limit)
        self._lines: deque[bytes | None] = deque()
        self._sending = trio.Lock()

    async def receive(self) -> bytes | None:
        """Wait for the next line; None when the peer has ended.

        Raises:
            RefusedError: the line was longer than the limit; the next one may be received.
            trio.BrokenResourceError: the connection is gone.
        """
        while not self._lines:
            data = await self._stream.receive_some(_RECEIVED_AT_ONCE)
            if not data:
                return None
            self._lines.extend(self._splitter.feed(bytes(data)))
        line = self._lines.popleft()
        if line is None:
            raise RefusedError(
                Code.TOO_LARGE, f"a line is longer than the {self._limit} bytes that are allowed"
            )
        return line

    async def send(self, line: bytes) -> None:
        """Send one line.

        Raises:
            trio.BrokenResourceError: the connection is gone, or the peer took nothing in time
                and half a line may have been sent: nothing more can be.
        """
        async with self._sending:
            with trio.move_on_after(self._timeout_seconds) as patience:
                await self._stream.send_all(line + b"\n")
            if patience.cancelled_caught:
                raise trio.BrokenResourceError(f"no room for {self._timeout_seconds:g} s")
