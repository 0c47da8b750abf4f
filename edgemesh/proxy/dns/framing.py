"""DNS over TCP: two bytes of length before each message (RFC 1035 section 4.2.2)."""

from __future__ import annotations

import trio

from edgemesh.wire.dns.codes import LARGEST_MESSAGE

_LENGTH_BYTES = 2


async def send_message(stream: trio.SocketStream, message: bytes) -> None:
    """Send one message of at most 65535 bytes.

    Raises:
        trio.BrokenResourceError: the connection is gone.
    """
    await stream.send_all(len(message).to_bytes(_LENGTH_BYTES, "big") + message)


class MessageReader:
    """Reads messages off a connection that somebody else owns."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def receive(self) -> bytes | None:
        """The next message, None when the peer has sent its last one, whole or not.

        Raises:
            trio.BrokenResourceError: the connection is gone.
        """
        if not await self._fill(_LENGTH_BYTES):
            return None
        end = _LENGTH_BYTES + int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
        if not await self._fill(end):
            return None
        message = bytes(self._buffer[_LENGTH_BYTES:end])
        del self._buffer[:end]
        return message

    async def _fill(self, size: int) -> bool:
        while len(self._buffer) < size:
            data = await self._stream.receive_some(LARGEST_MESSAGE)
            if not data:
                return False
            self._buffer += data
        return True
