"""The client's end of the metamanager's socket: requests, and a watch that lists again."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import trio

from edgemesh.meta.channel import Channel
from edgemesh.meta.errors import Code, RefusedError, refused_from_content
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import MetaSettings
from edgemesh.wire.message import (
    Header,
    Message,
    MessageError,
    Operation,
    Route,
    decode_message,
    encode_content,
    encode_message,
)

_SOURCE = "edgemesh"
_GROUP = "meta"


class Client:
    """One connection to the metamanager, used by one task at a time; made by ``connect``."""

    def __init__(self, channel: Channel, path: Path, timeout_seconds: float) -> None:
        self._channel = channel
        self._path = path
        self._timeout_seconds = timeout_seconds

    async def request(self, operation: Operation, resource: str, content: Any = None) -> Any:
        """Ask, and wait for the answer.

        Args:
            operation: what to do.
            resource: with what, ``default/service/web``.
            content: JSON values.

        Returns:
            The content of the response.

        Raises:
            RefusedError: the metamanager says why it did not.
            OperatorError: it went away, or is silent; it may have done what was asked.
        """
        with trio.move_on_after(self._timeout_seconds):
            msg_id = await self.send(operation, resource, content)
            while True:
                message = await self.receive()
                if message.header.parent_msg_id in {msg_id, ""}:
                    return message.value()
        raise AgentGoneError(
            f"the agent on {self._path} has not answered within {self._timeout_seconds:g} s",
            "see whether its process is stopped or very busy",
        )

    async def send(self, operation: Operation, resource: str, content: Any = None) -> str:
        """Send a new Message; return its id.

        Raises:
            OperatorError: the metamanager went away.
        """
        message = Message(
            header=Header(
                msg_id=str(uuid.uuid4()), timestamp=time.time_ns() // 1_000_000, sync=True
            ),
            route=Route(source=_SOURCE, group=_GROUP, operation=operation, resource=resource),
            content=encode_content(content),
        )
        await self.send_message(message)
        return message.header.msg_id

    async def send_message(self, message: Message) -> None:
        """Send a Message as it is.

        Raises:
            OperatorError: the metamanager went away.
        """
        gone = False
        try:
            await self._channel.send(encode_message(message))
        except trio.BrokenResourceError:
            gone = True
        if gone:
            # It may have said why before it went.
            await self.receive()
            raise self._gone()

    async def receive(self) -> Message:
        """Wait for the next Message.

        Raises:
            RefusedError: it is an ``error``.
            OperatorError: the metamanager went away, or speaks something else.
        """
        try:
            line = await self._channel.receive()
            if line is None:
                raise self._gone()
            message = decode_message(line)
        except trio.BrokenResourceError as error:
            raise self._gone() from error
        except MessageError as error:
            raise OperatorError(f"socket {self._path}: {error}", "is it edgemesh's?") from error
        if message.route.operation == Operation.ERROR:
            raise refused_from_content(message.value())
        return message

    def _gone(self) -> OperatorError:
        return AgentGoneError(f"the agent closed the connection to {self._path}")


class AgentGoneError(OperatorError):
    """The other end of the socket has gone away, or is not there."""


@asynccontextmanager
async def connect(path: Path, settings: MetaSettings) -> AsyncIterator[Client]:
    """A connection to the metamanager.

    Raises:
        AgentGoneError: nobody answers on the socket, or it may not be opened.
    """
    connection = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connection:
        try:
            await connection.connect(str(path))
        except OSError as error:
            raise AgentGoneError(
                f"no agent answers on {path}: {error.strerror or error}",
                "start it with: edgemesh run; or name another socket with --socket or --config",
            ) from error
        stream = trio.SocketStream(connection)
        timeout_seconds = settings.client_timeout_seconds
        channel = Channel(stream, settings.max_message_bytes, timeout_seconds)
        yield Client(channel, path, timeout_seconds)


class WatchEventType(StrEnum):
    """What a watch says; the first three are operations of Messages."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    RESET = "reset"
    SYNCED = "synced"


class WatchEvent(NamedTuple):
    """One step of a watch.

    RESET means that a list begins: what was known before is void. SYNCED ends the list.
    """

    type: WatchEventType
    body: Any = None


async def watch(
    path: Path,
    settings: MetaSettings,
    resource: str,
    on_event: Callable[[WatchEvent], Awaitable[None]],
) -> NoReturn:
    """Follow a resource until cancelled; list again whenever that is needed.

    That is when the metamanager cuts this watch off for being slow, and when the agent was
    restarted. It is tried again each ``read_retry_seconds`` while nobody answers.

    Args:
        path: of the socket.
        settings: limits, and how long to wait before another try.
        resource: ``default/service``, ``all/pod``.
        on_event: awaited for each step, in order; while it takes its time, so does the watch.

    Raises:
        OperatorError: the first connection failed, or the resource is refused.
    """
    connected = False
    while True:
        try:
            async with connect(path, settings) as client:
                connected = True
                await _follow(client, resource, on_event)
        except AgentGoneError:
            if not connected:
                raise
            await trio.sleep(settings.read_retry_seconds)


async def _follow(
    client: Client, resource: str, on_event: Callable[[WatchEvent], Awaitable[None]]
) -> NoReturn:
    """Subscribe again on one connection as often as it is cut off."""
    while True:
        await client.send(Operation.SUBSCRIBE, resource)
        await on_event(WatchEvent(WatchEventType.RESET))
        try:
            while True:
                await on_event(_event(await client.receive()))
        except RefusedError as error:
            if error.code is not Code.EXPIRED:
                raise


def _event(message: Message) -> WatchEvent:
    if message.route.operation == Operation.RESPONSE:
        return WatchEvent(WatchEventType.SYNCED)
    return WatchEvent(WatchEventType(message.route.operation), message.value())
