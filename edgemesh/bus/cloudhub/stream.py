"""The stream below a node's WebSocket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from edgemesh.wire.websocket_frames import FrameLimit, MessageTooLarge

# The most in one record of TLS (RFC 8446 section 5.1). What OpenSSL has once put together for a
# connection it keeps room for as long as that lasts, and there are thousands.
_RECORD_BYTES: Final = 16384


class LimitedStream(trio.abc.Stream):
    """Passes bytes on as long as no message is announced that is too large.

    Args:
        stream: below it; closing this closes that.
        head: the request for the upgrade, which has been received already.
        ahead: what came behind it, frames already.
        limit: bytes of a message.
        refuse: is told of a message beyond that, once. Nothing is received from then on.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        head: bytes,
        ahead: bytes,
        limit: int,
        refuse: Callable[[str], None],
    ) -> None:
        self._stream = stream
        self._pending = [head, ahead] if ahead else [head]
        self._head_is_due = True
        self._limit = FrameLimit(limit)
        self._refuse = refuse

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive bytes; see `trio.abc.ReceiveStream`."""
        if self._head_is_due:
            await trio.lowlevel.checkpoint()
            self._head_is_due = False
            return self._pending.pop(0)
        if self._pending:
            await trio.lowlevel.checkpoint()
            data: bytes | bytearray = self._pending.pop()
        else:
            data = await self._stream.receive_some(max_bytes)
        try:
            self._limit.feed(data)
        except MessageTooLarge as problem:
            self._refuse(str(problem))
            await trio.sleep_forever()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; see `trio.abc.SendStream`."""
        whole = memoryview(data)
        await self._stream.send_all(whole[:_RECORD_BYTES])
        for start in range(_RECORD_BYTES, len(whole), _RECORD_BYTES):
            await self._stream.send_all(whole[start : start + _RECORD_BYTES])

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream below."""
        await self._stream.aclose()
