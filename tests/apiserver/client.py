"""A client that speaks to a server in memory, so that hours pass in no time (autojump)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import h11
import msgspec
import trio
from trio.testing import memory_stream_pair

from apiserver.front import Front


class Heard(NamedTuple):
    """A whole answer.

    Attributes:
        headers: as they were sent, the last of each name.
    """

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON values."""
        return msgspec.json.decode(self.body)


@dataclass(eq=False)
class Heading:
    """An answer that goes on.

    Attributes:
        complete: whether the server has said that this is all.
    """

    status: int
    reason: str
    headers: dict[str, str]
    stream: trio.abc.Stream
    connection: h11.Connection
    complete: bool = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes, until the answer or the connection ends."""
        while True:
            event = self.connection.next_event()
            if event is h11.NEED_DATA:
                data = await self.stream.receive_some(65536)
                if not data:
                    return
                self.connection.receive_data(bytes(data))
            elif isinstance(event, h11.Data):
                yield bytes(event.data)
            else:
                self.complete = True
                return

    async def lines(self) -> AsyncIterator[bytes]:
        """Whole lines; what a cut leaves of one is not told."""
        rest = b""
        async for piece in self.pieces():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line


@asynccontextmanager
async def asking(
    server: Front,
    method: str,
    target: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> AsyncIterator[Heading]:
    """Send one request on a connection of its own, and hear the head of its answer."""
    ours, theirs = memory_stream_pair()
    connection = h11.Connection(h11.CLIENT)
    told = {"Host": "server", **(headers or {}), "Content-Length": str(len(body))}
    request = h11.Request(method=method, target=target, headers=list(told.items()))
    async with trio.open_nursery() as nursery:
        # What is sent to a stream in memory waits there until the server begins.
        nursery.start_soon(server.serve, theirs)  # noqa: ASYNC113
        data = connection.send(request) or b""
        data += connection.send(h11.Data(data=body)) or b""
        await ours.send_all(data + (connection.send(h11.EndOfMessage()) or b""))
        head = await _head(ours, connection)
        found = {name.decode(): value.decode() for name, value in head.headers.raw_items()}
        reason = bytes(head.reason).decode()
        yield Heading(head.status_code, reason, found, ours, connection)
        await ours.aclose()


async def _head(stream: trio.abc.Stream, connection: h11.Connection) -> h11.Response:
    while not isinstance(event := connection.next_event(), h11.Response):
        connection.receive_data(bytes(await stream.receive_some(65536)))
    return event


async def ask(
    server: Front,
    method: str,
    target: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
) -> Heard:
    """Ask, and hear the whole answer; ``body`` is bytes, or JSON values."""
    encoded = b"" if body is None else msgspec.json.encode(body)
    raw = body if isinstance(body, bytes) else encoded
    told = {} if body is None else {"Content-Type": "application/json"}
    async with asking(
        server, method, target, headers={**told, **(headers or {})}, body=raw
    ) as head:
        pieces = [piece async for piece in head.pieces()]
        return Heard(head.status, head.reason, head.headers, b"".join(pieces))
