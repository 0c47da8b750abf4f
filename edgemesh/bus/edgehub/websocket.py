"""A WebSocket to the cloud: the upgrade as EdgeCore asks for it, and text frames both ways.

A thin wrapper of trio-websocket: whatever ends a connection comes out as one kind of error that
says why.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import h11
import trio
import trio_websocket
import wsproto.utilities

from edgemesh.bus.close_codes import CloseCode
from edgemesh.bus.edgehub.problems import CloudProblemError
from edgemesh.bus.edgehub.watched_stream import WatchedStream

# RFC 6455 section 7.4.1: not sent by a peer, but what a peer left without a close frame.
_NO_CLOSE_FRAME = 1006
_LONGEST_WORDS = 300


class Upgrade:
    """What a WebSocket is asked for with.

    Args:
        host: for the Host field.
        path: of the request.
        fields: besides those of every upgrade; names as they are to be sent.
    """

    def __init__(self, host: str, path: str, fields: Mapping[str, str]) -> None:
        self.host = host
        self.path = path
        self.fields = fields


class WebSocket:
    """Frames of an upgraded connection; made by `open_websocket`.

    Attributes:
        fields: of the cloud's answer to the upgrade, names in lower case.
    """

    def __init__(
        self, connection: trio_websocket.WebSocketConnection, stream: WatchedStream
    ) -> None:
        self._connection = connection
        self._stream = stream
        self.fields = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in connection.handshake_headers
        }

    async def send(self, text: str) -> None:
        """Send one frame. Must not be cancelled while the connection is to live.

        Raises:
            CloudProblemError: the connection is lost.
        """
        try:
            await self._connection.send_message(text)
        except trio_websocket.ConnectionClosed as closed:
            raise CloudProblemError(self._words(closed)) from closed

    async def receive(self) -> bytes:
        """The next frame; one of bytes counts as text, as it does for CloudCore.

        Raises:
            CloudProblemError: the connection is lost.
        """
        try:
            frame = await self._connection.get_message()
        except trio_websocket.ConnectionClosed as closed:
            raise CloudProblemError(self._words(closed)) from closed
        return frame.encode() if isinstance(frame, str) else frame

    async def ping(self) -> None:
        """Ask for a sign of life, and wait for it.

        Raises:
            CloudProblemError: the connection is lost.
        """
        try:
            await self._connection.ping()
        except trio_websocket.ConnectionClosed as closed:
            raise CloudProblemError(self._words(closed)) from closed

    def _words(self, closed: trio_websocket.ConnectionClosed) -> str:
        reason = closed.reason
        if reason is None or reason.code == _NO_CLOSE_FRAME:
            return f"the cloud {self._stream.problem or 'broke off the connection'}"
        name = CloseCode(reason.code).name if reason.code in set(CloseCode) else reason.name
        said = f": {reason.reason}" if reason.reason else ""
        return f"the cloud closed the connection, {name.lower().replace('_', ' ')}{said}"


@asynccontextmanager
async def open_websocket(
    stream: WatchedStream, upgrade: Upgrade, *, seconds: float, max_message_bytes: int
) -> AsyncIterator[WebSocket]:
    """A WebSocket over a stream, for the block.

    Raises:
        CloudProblemError: the peer does not upgrade. Errors of the block come out in a group.

    Ownership: the caller closes the stream.
    """
    problem = ""
    try:
        async with trio.open_nursery() as nursery:
            websocket = await _upgraded(nursery, stream, upgrade, seconds, max_message_bytes)
            if websocket is None:
                problem = stream.problem or f"does not upgrade within {seconds:g} s"
            else:
                yield websocket
            nursery.cancel_scope.cancel()
    except* trio_websocket.ConnectionRejected as group:
        problem = _refusal(group)
    except* (h11.ProtocolError, wsproto.utilities.ProtocolError):
        # The library answers what it does not understand, in states that forbid it.
        problem = "sent what is no WebSocket"
    if problem:
        raise CloudProblemError(f"the cloud {problem}")


async def _upgraded(
    nursery: trio.Nursery,
    stream: WatchedStream,
    upgrade: Upgrade,
    seconds: float,
    max_message_bytes: int,
) -> WebSocket | None:
    """None when the stream ends, or nothing comes, before it is upgraded."""
    with trio.move_on_after(seconds) as waiting:

        async def give_up() -> None:
            await stream.ended.wait()
            waiting.cancel()

        nursery.start_soon(give_up)
        connection = await trio_websocket.wrap_client_stream(
            nursery,
            stream,  # type: ignore[arg-type]  # any stream will do
            upgrade.host,
            upgrade.path,
            extra_headers=[
                (name.encode(), value.encode()) for name, value in upgrade.fields.items()
            ],
            max_message_size=max_message_bytes,
            receive_buffer_size=None,
        )
        return WebSocket(connection, stream)
    return None


def _refusal(group: BaseExceptionGroup[trio_websocket.ConnectionRejected]) -> str:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, trio_websocket.ConnectionRejected)
    words = (first.body or b"")[:_LONGEST_WORDS].decode("utf-8", "backslashreplace").strip()
    return f"refused the connection: HTTP {first.status_code}" + (f", {words}" if words else "")
