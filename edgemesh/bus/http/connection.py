"""One connection: h11's events read from and written to a stream, each within a deadline."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from typing import TypeVar

import h11
import trio

from edgemesh.bus.http.messages import Body, Fields, HttpError, HttpSilentError

_READ_BYTES = 65536

Kind = TypeVar("Kind", bound=h11.Event)


class Connection:
    """See the module.

    Ownership: the stream is the caller's.
    """

    def __init__(
        self, stream: trio.abc.Stream, *, serves: bool, max_head_bytes: int, seconds: float
    ) -> None:
        """Begin at the stream's next byte.

        Args:
            stream: ordered bytes, both ways.
            serves: whether the peer is the client.
            max_head_bytes: of the peer's heads.
            seconds: that a read or a write may take.
        """
        role = h11.SERVER if serves else h11.CLIENT
        self.machine = h11.Connection(role, max_incomplete_event_size=max_head_bytes)
        self._stream = stream
        self._seconds = seconds

    async def next_event(self, seconds: float | None = None) -> object:
        """The peer's next event.

        Args:
            seconds: to wait for it, None for as long as a read may take.

        Raises:
            HttpError: it sent something else, or nothing in time, or has left.
        """
        with trio.move_on_after(self._seconds if seconds is None else seconds):
            while True:
                try:
                    event = self.machine.next_event()
                except h11.RemoteProtocolError as error:
                    raise HttpError(str(error)) from error
                if event is not h11.NEED_DATA:
                    return event
                if self.machine.they_are_waiting_for_100_continue:
                    await self.send(
                        h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                    )
                await self._receive()
        raise HttpSilentError("nothing was heard in time")

    async def wait_for_more(self, seconds: float) -> None:
        """Wait until the peer has said anything behind its last message.

        Raises:
            HttpSilentError: it has not in time.
            HttpError: the connection broke.
        """
        with trio.move_on_after(seconds):
            if self.machine.trailing_data == (b"", False):
                await self._receive()
            return
        raise HttpSilentError("nothing was heard in time")

    async def _receive(self) -> None:
        try:
            self.machine.receive_data(bytes(await self._stream.receive_some(_READ_BYTES)))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise HttpError("the connection broke") from error

    async def expect(self, kind: type[Kind], seconds: float | None = None) -> Kind:
        """The peer's next event, which must be of a kind.

        Raises:
            HttpError: it is not, or see `next_event`.
        """
        event = await self.next_event(seconds)
        if not isinstance(event, kind):
            raise HttpError("the peer has left")
        return event

    async def body(self) -> Body:
        """The parts of the peer's body, up to its end.

        Raises:
            HttpError: see `next_event`.
        """
        while True:
            event = await self.next_event()
            if isinstance(event, h11.EndOfMessage):
                return
            if not isinstance(event, h11.Data):
                raise HttpError("the peer has left before the end of the body")
            yield bytes(event.data)

    async def send(self, event: h11.Event) -> None:
        """Write an event.

        Raises:
            HttpError: the peer takes nothing in time, or has left; or the event does not fit.
        """
        try:
            data = self.machine.send(event)
        except h11.LocalProtocolError as error:
            raise HttpError(str(error)) from error
        if not data:
            return
        with trio.move_on_after(self._seconds) as scope:
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise HttpError("the connection broke") from error
        if scope.cancelled_caught:
            raise HttpError("the peer takes nothing")

    async def send_body(self, body: Body) -> None:
        """Write a body, part by part, and its end.

        Raises:
            HttpError: see `send`; or what the body itself raises.
        """
        async with aclosing(body):
            async for part in body:
                await self.send(h11.Data(data=part))
        await self.send(h11.EndOfMessage())


def text_fields(head: h11.Request | h11.Response) -> Fields:
    """Fields as text, names as they were written."""
    return tuple(
        (name.decode(), value.decode("latin-1")) for name, value in head.headers.raw_items()
    )


def framed(fields: Iterable[tuple[str, str]], length: int | None) -> list[tuple[str, str]]:
    """Fields with what frames the body: its length, or chunks where nobody knows it."""
    frame = ("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))
    return [*fields, frame]


def announced_length(head: h11.Request | h11.Response) -> int | None:
    """The length that the head of a message announces, None for chunks or up to the end."""
    for name, value in head.headers:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return None
    return 0
