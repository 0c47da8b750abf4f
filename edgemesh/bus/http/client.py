"""Send one request over a stream and hear its answer; nothing is ever sent twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import h11
import trio

from edgemesh.bus.http.connection import Connection, announced_length, framed, text_fields
from edgemesh.bus.http.messages import Body, HttpError, Request, Response

_BODILESS = frozenset({204, 304})


@asynccontextmanager
async def exchange(
    stream: trio.abc.Stream, request: Request, *, max_head_bytes: int, seconds: float
) -> AsyncIterator[Response]:
    """The answer to a request, whose body is read while the block lasts.

    The request's body is still being sent when an early answer comes, and is given up then at the
    end of the block.

    Args:
        stream: to whom it is sent; good for nothing else afterwards.
        request: with its ``Host`` among its fields.
        max_head_bytes: of the answer.
        seconds: silence that ends it.

    Raises:
        HttpError: there was no answer, or something that is none; also from the body.

    Ownership: the caller closes the stream.
    """
    connection = Connection(stream, serves=False, max_head_bytes=max_head_bytes, seconds=seconds)
    fields = [*framed(request.fields, request.length), ("Connection", "close")]
    with _unwrapped():
        async with trio.open_nursery() as nursery:
            await connection.send(
                h11.Request(method=request.method, target=request.target, headers=fields)
            )
            nursery.start_soon(_send_body, connection, request.body)
            head = await _final_head(connection)
            length = _length(request.method, head)
            yield Response(head.status_code, text_fields(head), connection.body(), length)
            nursery.cancel_scope.cancel()


@contextmanager
def _unwrapped() -> Iterator[None]:
    """Let an HttpError of the nursery go on as one of its own."""
    try:
        yield
    except BaseExceptionGroup as group:
        errors, others = group.split(HttpError)
        if errors is None or others is not None:
            raise
        raise _same(errors) from group


def _same(errors: BaseExceptionGroup[HttpError]) -> HttpError:
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, HttpError)
    return type(first)(*first.args)


async def _final_head(connection: Connection) -> h11.Response:
    while True:
        event = await connection.next_event()
        if isinstance(event, h11.Response):
            return event
        if not isinstance(event, h11.InformationalResponse):
            raise HttpError("the connection ended without an answer")


def _length(method: str, head: h11.Response) -> int | None:
    if method == "HEAD" or head.status_code in _BODILESS:
        return 0
    # Without a length and without chunks the body ends with the connection.
    named = {name for name, _ in head.headers}
    framed_by = {b"content-length", b"transfer-encoding"}
    return announced_length(head) if named & framed_by else None


async def _send_body(connection: Connection, body: Body) -> None:
    try:
        await connection.send_body(body)
    except HttpError:
        # A server may answer early and take no more: the answer says why.
        return
