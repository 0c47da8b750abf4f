"""Exactly as many bytes as asked for, from a stream."""

from __future__ import annotations

import trio

_MAX_HEAD_BYTES = 65536


class Reader:
    """See the module."""

    def __init__(self, stream: trio.SocketStream) -> None:
        """Read from ``stream``, which is its owner's to close."""
        self._stream = stream
        self._received = bytearray()

    async def take(self, count: int) -> bytes:
        """The next ``count`` bytes; EOFError when the stream ends before."""
        while len(self._received) < count:
            await self._more()
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    async def take_head(self) -> bytes:
        """Everything before the first empty line, which is dropped."""
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            if len(self._received) > _MAX_HEAD_BYTES:
                raise EOFError
            await self._more()
        head = await self.take(end)
        await self.take(4)
        return head

    async def _more(self) -> None:
        data = await self._stream.receive_some()
        if not data:
            raise EOFError
        self._received += data
