"""HTTP of the cloud's own ports: a head, perhaps a short body, one short answer."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import trio

from edgemesh.model.settings import HttpSettings
from edgemesh.wire.http1.heads import Framing, MalformedHead, RequestHead
from edgemesh.wire.http1.reader import HeadReader

_RECEIVE_BYTES: Final = 16384
_HEAD_BYTES: Final = 16384


class EndedEarly(Exception):  # noqa: N818 - a fact about the peer
    """The peer ended before its request was whole."""


def request_reader() -> HeadReader:
    """A reader of heads that remembers none: each node sends its own, once."""
    return HeadReader(HttpSettings(max_head_bytes=_HEAD_BYTES, max_request_line_bytes=_HEAD_BYTES))


async def receive_head(
    stream: trio.abc.ReceiveStream, reader: HeadReader, received: bytearray
) -> RequestHead:
    """Receive a head; what came beyond it stays in ``received``, the head does too.

    Raises:
        MalformedHead: it is none.
        EndedEarly: the peer ended before.
        trio.BrokenResourceError: the connection is gone.
    """
    while True:
        head = reader.read_request(received)
        if head is not None:
            return head
        await receive_more(stream, received)


async def receive_body(
    stream: trio.abc.ReceiveStream, head: RequestHead, received: bytearray, limit: int
) -> bytes:
    """Receive the body of a request whose head is at the front of ``received``.

    Raises:
        MalformedHead: the body has no announced length, or more than the limit.
        EndedEarly: the peer ended before.
        trio.BrokenResourceError: the connection is gone.
    """
    if head.framing is Framing.NONE:
        return b""
    if head.framing is not Framing.LENGTH:
        raise MalformedHead(HTTPStatus.LENGTH_REQUIRED, "content-length")
    if head.content_length > limit:
        raise MalformedHead(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body")
    end = head.size + head.content_length
    while len(received) < end:
        await receive_more(stream, received)
    return bytes(received[head.size : end])


async def receive_more(stream: trio.abc.ReceiveStream, received: bytearray) -> None:
    """Receive some bytes more.

    Raises:
        EndedEarly: there are none.
        trio.BrokenResourceError: the connection is gone.
    """
    data = await stream.receive_some(_RECEIVE_BYTES)
    if not data:
        raise EndedEarly
    received += data


async def send_answer(
    stream: trio.abc.SendStream, status: int, content_type: str, body: bytes
) -> None:
    """Answer a request, as the last one of its connection.

    Raises:
        trio.BrokenResourceError: the connection is gone.
    """
    headers = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        f"date: {formatdate(usegmt=True)}\r\n"
        f"content-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\n"
        "x-content-type-options: nosniff\r\n"
        "connection: close\r\n\r\n"
    )
    await stream.send_all(headers.encode() + body)
