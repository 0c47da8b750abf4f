"""A request and a response, with a body that comes as it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field

import trio

Fields = tuple[tuple[str, str], ...]
Body = AsyncGenerator[bytes, None]

# RFC 9110 section 7.6.1, and what frames a message: each connection has its own.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class HttpError(Exception):
    """A peer that does not speak HTTP, or fell silent or left in the midst of it."""


class HttpSilentError(HttpError):
    """A peer that said nothing for too long."""


class BodyTooLongError(HttpError):
    """More of a body than its reader takes."""


async def whole_body(content: bytes) -> Body:
    """A body that is there already."""
    await trio.lowlevel.checkpoint()
    if content:
        yield content


def no_body() -> Body:
    """The body of a message that has none."""
    return whole_body(b"")


async def read_whole(body: Body, limit: int) -> bytes:
    """All of a body.

    Raises:
        BodyTooLongError: it has more than ``limit`` bytes.
    """
    parts: list[bytes] = []
    length = 0
    async with aclosing(body):
        async for part in body:
            length += len(part)
            if length > limit:
                raise BodyTooLongError(f"the body has more than {limit} bytes")
            parts.append(part)
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Request:
    """A request.

    Args:
        method, target: as in its first line.
        fields: in their order, names as they were written.
        body: to be read once.
        length: of the body, None when nobody knows.
    """

    method: str
    target: str
    fields: Fields
    body: Body = field(default_factory=no_body)
    length: int | None = 0


@dataclass(frozen=True, slots=True)
class Response:
    """A response; its parts are those of a request."""

    status: int
    fields: Fields
    body: Body = field(default_factory=no_body)
    length: int | None = 0


def text_response(status: int, text: str, fields: Fields = ()) -> Response:
    """A response of one line for people."""
    content = f"{text}\n".encode()
    plain = ("Content-Type", "text/plain; charset=utf-8")
    return Response(status, (plain, *fields), whole_body(content), len(content))


def end_to_end(fields: Iterable[tuple[str, str]]) -> Fields:
    """The fields that are for the other end, and not for the next hop."""
    listed = list(fields)
    named = {
        option.strip().lower()
        for name, value in listed
        if name.lower() == "connection"
        for option in value.split(",")
    }
    dropped = _HOP_BY_HOP | named
    return tuple((name, value) for name, value in listed if name.lower() not in dropped)
