"""h2 at both ends of a data plane: a client and endpoints, in the hands of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    RequestReceived,
    ResponseReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes
from plane_fixtures import PATIENCE_SECONDS, Peer, Server, World

Fields = Sequence[tuple[str, str]]

GET = ((":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "web"))
POST = ((":method", "POST"), *GET[1:])
GRPC = (*POST, ("te", "trailers"), ("content-type", "application/grpc"))
OK = ((":status", "200"),)


@dataclass
class Heard:
    """What has come on one stream.

    Attributes:
        reset: the code of RST_STREAM.
    """

    head: dict[str, str] = field(default_factory=dict)
    interim: list[str] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    trailers: dict[str, str] = field(default_factory=dict)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> str:
        return self.head.get(":status", "")

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None


class H2Peer:
    """One HTTP/2 connection.

    Attributes:
        h2: to say things with, then `send`.
        heard: by stream.
        goodbye: the last GOAWAY.
        acknowledged: how many of our SETTINGS the other side goes by.
        acknowledges: gives window back for all data.
    """

    def __init__(self, peer: Peer, *, client: bool) -> None:
        self.peer = peer
        self.h2 = H2Connection(H2Configuration(client_side=client, header_encoding="latin-1"))
        self.heard: dict[int, Heard] = {}
        self.goodbye: ConnectionTerminated | None = None
        self.closed = False
        self.acknowledged = 0
        self.acknowledges = True
        self._next = 1
        self._client = client
        self._greeted = False
        self._unread = bytearray()
        state = ConnectionState.CLIENT_OPEN if client else ConnectionState.SERVER_OPEN
        self._open_state = state

    async def greet(self, **settings: int) -> H2Peer:
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings(
                {SettingCodes[name.upper()]: value for name, value in settings.items()}
            )
        await self.send()
        return self

    async def send(self) -> None:
        await self.peer.send(self.h2.data_to_send())

    async def request(self, fields: Fields = GET, body: bytes | None = None) -> int:
        """Send a request, all of it; the number of its stream."""
        stream_id = await self.begin(fields, end=body is None)
        if body is not None:
            await self.say(stream_id, body, end=True)
        return stream_id

    async def begin(self, fields: Fields = POST, *, end: bool = False) -> int:
        stream_id = self._next
        self._next += 2
        self.h2.send_headers(stream_id, fields, end_stream=end)
        await self.send()
        return stream_id

    async def say(self, stream_id: int, body: bytes, *, end: bool = False) -> None:
        """Send a body of any length, as the window lets it."""
        while body or end:
            room = min(self.h2.local_flow_control_window(stream_id), 16384)
            if body and not room:
                await self.hear()
                continue
            part, body = body[:room], body[room:]
            self.h2.send_data(stream_id, part, end_stream=end and not body)
            await self.send()
            if not body:
                return

    async def respond(
        self, stream_id: int, fields: Fields = OK, body: bytes = b"", trailers: Fields = ()
    ) -> None:
        bare = not body and not trailers
        self.h2.send_headers(stream_id, fields, end_stream=bare)
        await self.send()
        if body:
            await self.say(stream_id, body, end=not trailers)
        if trailers:
            self.h2.send_headers(stream_id, trailers, end_stream=True)
            await self.send()

    async def reset(self, stream_id: int, code: int) -> None:
        self.h2.reset_stream(stream_id, code)
        await self.send()

    def on(self, stream_id: int) -> Heard:
        """What has come on a stream so far."""
        return self.heard.setdefault(stream_id, Heard())

    async def hear(self) -> None:
        """Read once."""
        with trio.fail_after(PATIENCE_SECONDS):
            try:
                raw = await self.peer.sock.recv(65536)
            except ConnectionResetError:
                raw = b""
        if not raw:
            self.closed = True
            return
        self._unread += raw
        for part in self._whole_frames():
            for event in self.h2.receive_data(part):
                self._take(event)
            if self.goodbye is not None:
                # h2 takes GOAWAY for the end, though open streams go on (RFC 9113 section 6.8).
                self.h2.state_machine.state = self._open_state
        if out := self.h2.data_to_send():
            await self.peer.send(out)

    def _whole_frames(self) -> Iterator[bytes]:
        unread = self._unread
        if not self._greeted and not self._client:
            yield self._cut(24)
        self._greeted = True
        while len(unread) >= 9 and len(unread) >= (size := 9 + int.from_bytes(unread[:3], "big")):
            yield self._cut(size)

    def _cut(self, size: int) -> bytes:
        part = bytes(self._unread[:size])
        del self._unread[:size]
        return part

    def _take(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            self.goodbye = event
            return
        if isinstance(event, SettingsAcknowledged):
            self.acknowledged += 1
        stream_id: Any = getattr(event, "stream_id", None)
        if not stream_id:
            return
        heard = self.on(stream_id)
        if isinstance(event, (RequestReceived, ResponseReceived)):
            heard.head = _texts(event.headers)
        elif isinstance(event, InformationalResponseReceived):
            heard.interim.append(_texts(event.headers)[":status"])
        elif isinstance(event, DataReceived):
            heard.body += event.data
            if self.acknowledges and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream_id)
        elif isinstance(event, TrailersReceived):
            heard.trailers = _texts(event.headers)
        elif isinstance(event, StreamEnded):
            heard.ended = True
        elif isinstance(event, StreamReset):
            heard.reset = int(event.error_code)

    async def until(self, holds: Callable[[], object]) -> None:
        while not holds():
            assert not self.closed, self.heard
            await self.hear()

    async def over(self, stream_id: int) -> Heard:
        """What has come on a stream, when nothing more does."""
        await self.until(lambda: stream_id in self.heard and self.heard[stream_id].over)
        return self.heard[stream_id]

    async def next_request(self, *, over: bool = True) -> int:
        """The first stream that was not asked for yet."""
        stream_id = self._next
        self._next += 2
        await self.until(
            lambda: (
                stream_id in self.heard
                and self.heard[stream_id].head
                and (self.heard[stream_id].over or not over)
            )
        )
        return stream_id

    async def until_closed(self) -> None:
        while not self.closed:
            await self.hear()


def _texts(fields: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in fields}


async def h2_client(world: World, **settings: int) -> H2Peer:
    return await H2Peer(await world.call(), client=True).greet(**settings)


async def h2_endpoint(server: Server, **settings: int) -> H2Peer:
    """The next connection that an endpoint gets."""
    return await H2Peer(await server.accept(), client=False).greet(**settings)


async def h2_pair(world: World, **port: object) -> tuple[H2Peer, Server]:
    """A client of a new Service with one endpoint."""
    server = world.serve()
    world.service(server.endpoint, application_protocol="http2", **port)
    return await h2_client(world), server


async def h2_asked(world: World, **port: object) -> tuple[H2Peer, H2Peer]:
    """A client of a new Service and the endpoint that it has just asked, on stream 1."""
    client, server = await h2_pair(world, **port)
    await client.request()
    endpoint = await h2_endpoint(server)
    await endpoint.next_request()
    return client, endpoint


async def h2_exchanged(world: World, **port: object) -> tuple[H2Peer, Server, H2Peer]:
    """A client of a new Service with one endpoint, and their connections after one exchange."""
    client, server = await h2_pair(world, **port)
    await client.request()
    endpoint = await h2_endpoint(server)
    await endpoint.respond(await endpoint.next_request())
    await client.over(1)
    return client, server, endpoint


async def told_at_once(world: World, *, grpc: bool = False) -> dict[str, str]:
    """What a new client is told by edgemesh itself."""
    client = await h2_client(world)
    stream_id = await client.request(GRPC if grpc else GET, b"question" if grpc else None)
    heard = await client.over(stream_id)
    assert heard.ended
    return {**heard.head, "body": heard.body.decode()}
