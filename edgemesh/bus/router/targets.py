"""REST targets of rules: a URL outside, called by POST, once."""

from __future__ import annotations

import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

import trio

from edgemesh.bus.http.client import exchange
from edgemesh.bus.http.messages import HttpError, Request, read_whole, whole_body

_MAX_HEAD_BYTES = 61440


class Answered(NamedTuple):
    """What a target said."""

    status: int
    body: bytes


class TargetError(Exception):
    """A target was not reached, or gave no answer."""


async def post(url: str, payload: bytes, *, seconds: float, max_body_bytes: int) -> Answered:
    """Send a payload to a URL.

    Args:
        url: http or https; of the latter the certificate is checked.
        payload: JSON, or anything else.
        seconds: that it may take.
        max_body_bytes: of the answer.

    Raises:
        TargetError: naming the URL, without its credentials.
    """
    where = _shown(url)
    with trio.move_on_after(seconds):
        try:
            return await _post(url, payload, seconds, max_body_bytes)
        except (HttpError, ssl.SSLError, trio.BrokenResourceError, OSError) as error:
            cause = error.__cause__ or error
            raise TargetError(f"{where}: {cause}") from error
    raise TargetError(f"{where}: no whole answer in {seconds:g} s")


async def _post(url: str, payload: bytes, seconds: float, max_body_bytes: int) -> Answered:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host = parts.hostname or ""
    port = parts.port or (443 if secure else 80)
    stream: trio.abc.Stream
    if secure:
        stream = await trio.open_ssl_over_tcp_stream(host, port, https_compatible=True)
    else:
        stream = await trio.open_tcp_stream(host, port)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = (
        ("Host", parts.netloc.rpartition("@")[2]),
        ("User-Agent", "edgemesh"),
        ("Content-Type", "application/json" if _looks_like_json(payload) else "text/plain"),
    )
    request = Request("POST", path, fields, whole_body(payload), len(payload))
    async with (
        stream,
        exchange(stream, request, max_head_bytes=_MAX_HEAD_BYTES, seconds=seconds) as answer,
    ):
        return Answered(answer.status, await read_whole(answer.body, max_body_bytes))


def _looks_like_json(payload: bytes) -> bool:
    return payload[:1] in {b"{", b"["}


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
