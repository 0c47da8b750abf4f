"""Serve requests on one connection, one after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http.client import responses
from typing import NamedTuple

import h11
import trio

from edgemesh.bus.http.connection import Connection, announced_length, framed, text_fields
from edgemesh.bus.http.messages import HttpError, Request, Response, text_response

_FIRST_FINAL = 200
_BODILESS = frozenset({204, 304})

Respond = Callable[[Response], Awaitable[None]]
Handler = Callable[[Request, Respond], Awaitable[None]]


class ServerLimits(NamedTuple):
    """What a client may do.

    Args:
        head_bytes: of a request's head.
        idle_seconds: silence between requests.
        head_seconds: from the first byte of a request to the end of its head.
        silence_seconds: silence in the midst of one, or of an answer that it does not take.
    """

    head_bytes: int = 61440
    idle_seconds: float = 60.0
    head_seconds: float = 10.0
    silence_seconds: float = 30.0


async def serve_requests(stream: trio.abc.Stream, handler: Handler, limits: ServerLimits) -> str:
    """Answer a client's requests until it leaves or falls silent.

    A body that the handler has not read to its end ends the connection after the answer.

    Args:
        stream: the client.
        handler: answers a request, once, by what it is given; what it raises ends the
            connection, but for HttpError, which is told where nothing was answered yet.
        limits: see there.

    Returns:
        What was wrong with the client's last request, "" when nothing was.

    Ownership: the caller closes the stream.
    """
    connection = Connection(
        stream, serves=True, max_head_bytes=limits.head_bytes, seconds=limits.silence_seconds
    )
    try:
        while await _serve_one(connection, handler, limits):
            pass
    except HttpError as error:
        machine = connection.machine
        begun = machine.their_state is not h11.IDLE or bool(machine.trailing_data[0])
        await _refuse(connection, error)
        return str(error) if begun else ""
    return ""


async def _serve_one(connection: Connection, handler: Handler, limits: ServerLimits) -> bool:
    """Serve the next request; false when there is none, or can be none after it."""
    await connection.wait_for_more(limits.idle_seconds)
    event = await connection.next_event(limits.head_seconds)
    if not isinstance(event, h11.Request):
        return False
    request = Request(
        event.method.decode(),
        event.target.decode("latin-1"),
        text_fields(event),
        connection.body(),
        announced_length(event),
    )

    async def respond(response: Response) -> None:
        await _respond(connection, request.method, response)

    await handler(request, respond)
    machine = connection.machine
    if machine.their_state is not h11.DONE or machine.our_state is not h11.DONE:
        return False
    machine.start_next_cycle()
    return True


async def _respond(connection: Connection, method: str, response: Response) -> None:
    # RFC 9110 section 8.6: no length where there can be no content.
    bodiless = response.status < _FIRST_FINAL or response.status in _BODILESS
    fields = list(response.fields) if bodiless else framed(response.fields, response.length)
    reason = responses.get(response.status, "").encode()
    await connection.send(h11.Response(status_code=response.status, headers=fields, reason=reason))
    if method == "HEAD" or bodiless:
        await connection.send(h11.EndOfMessage())
    else:
        await connection.send_body(response.body)


async def _refuse(connection: Connection, error: HttpError) -> None:
    """Tell a client what was wrong with its request, if it can still be told."""
    machine = connection.machine
    if machine.our_state not in {h11.IDLE, h11.SEND_RESPONSE} or machine.their_state is h11.IDLE:
        return
    cause = error.__cause__
    status = cause.error_status_hint if isinstance(cause, h11.RemoteProtocolError) else 400
    response = text_response(status, str(error), (("Connection", "close"),))
    try:
        await _respond(connection, "", response)
    except HttpError:
        return
