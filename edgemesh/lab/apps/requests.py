"""Just enough HTTP/1.1 for the apps: request after request on one connection."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import trio

_MAX_HEAD_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Request:
    """One request; its body was read and thrown away.

    Args:
        method, target: as they were sent.
        fields: the header, names in lower case.
        wants_more: whether the client may ask again on this connection.
    """

    method: str
    target: str
    fields: Mapping[str, str]
    wants_more: bool


@dataclass(frozen=True, slots=True)
class Response:
    """One answer.

    Args:
        body: of it.
        status: of it.
        fields: header fields beyond the usual.
    """

    body: bytes
    status: int = 200
    fields: Mapping[str, str] = field(default_factory=dict)


async def serve_requests(
    stream: trio.SocketStream, answer: Callable[[Request], Awaitable[Response | None]]
) -> None:
    """Answer the requests of one connection until the client wants no more.

    Args:
        stream: the connection.
        answer: one request; None resets the connection instead.
    """
    reader = _Reader(stream)
    while (request := await reader.request()) is not None:
        response = await answer(request)
        if response is None:
            # Closing without lingering sends RST (socket(7), SO_LINGER).
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        await stream.send_all(_encode(request, response))
        if not request.wants_more:
            return


class _Reader:
    """Whole requests, from a stream."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._received = b""

    async def request(self) -> Request | None:
        """The next one; None when there is none any more, or none that is understood."""
        while b"\r\n\r\n" not in self._received:
            data = await self._stream.receive_some()
            if not data or len(self._received) > _MAX_HEAD_BYTES:
                return None
            self._received += data
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        start, *lines = head.decode("latin-1").split("\r\n")
        fields = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        words = start.split(" ")
        length = fields.get("content-length", "0")
        if len(words) != 3 or not length.isdecimal() or not await self._skip(int(length)):
            return None
        method, target, version = words
        closes = fields.get("connection", "").lower() == "close" or version == "HTTP/1.0"
        return Request(method, target, fields, not closes)

    async def _skip(self, length: int) -> bool:
        """Throw a body away; False when the stream ends before it does."""
        while length > len(self._received):
            length -= len(self._received)
            self._received = bytes(await self._stream.receive_some())
            if not self._received:
                return False
        self._received = self._received[length:]
        return True


def _encode(request: Request, response: Response) -> bytes:
    fields = {
        "content-type": "text/plain",
        "content-length": str(len(response.body)),
        **response.fields,
        **({} if request.wants_more else {"connection": "close"}),
    }
    status = HTTPStatus(response.status)
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in fields.items()
    )
    return f"{head}\r\n".encode() + (b"" if request.method == "HEAD" else response.body)
