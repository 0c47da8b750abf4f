"""One client of the admin server: requests in turn, each with its page."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterator
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, NamedTuple

import trio

from edgemesh.model.observe_settings import AdminSettings
from edgemesh.observe.admin.pages import Page, Pages, refusal
from edgemesh.observe.slices import take_slice
from edgemesh.wire.http1.heads import Framing, MalformedHead, RequestHead
from edgemesh.wire.http1.reader import HeadReader

_RECEIVE_BYTES: Final = 16384
_METHODS: Final = ("GET", "HEAD")
_LAST_CHUNK: Final = b"0\r\n\r\n"


class _Manner(NamedTuple):
    """How an answer is sent.

    Args:
        minor: HTTP version of the request.
        with_body: it was no HEAD.
        keep_alive: another request may follow.
    """

    minor: int
    with_body: bool
    keep_alive: bool


class Connection:
    """Serves one client.

    Args:
        stream: to it; whoever made it closes it.
        reader: of heads.
        pages: what there is to ask for.
        settings: limits and deadlines.
        only_local: refuse requests that call us by a name. In a browser on this host any page
            of the internet may have such a name point here (DNS rebinding).
    """

    def __init__(
        self,
        stream: trio.SocketStream,
        reader: HeadReader,
        pages: Pages,
        settings: AdminSettings,
        *,
        only_local: bool,
    ) -> None:
        self._stream = stream
        self._reader = reader
        self._pages = pages
        self._settings = settings
        self._only_local = only_local
        self._received = bytearray()
        self._answering: trio.CancelScope | None = None
        self._deadline = math.inf

    @property
    def is_answering(self) -> bool:
        """Whether an answer has begun. Cancellation does not touch it; see `hurry`."""
        return self._answering is not None

    def hurry(self, deadline: float) -> None:
        """Cut off at ``deadline``, by trio's clock, what answer there may be then."""
        self._deadline = deadline
        if self._answering is not None:
            self._answering.deadline = deadline

    async def run(self) -> None:
        """Answer until the client ends, is silent for too long or sends what is no request."""
        try:
            while await self._turn():
                pass
        except trio.BrokenResourceError:
            # The client is gone; nobody is left to be told.
            return

    async def _turn(self) -> bool:
        """Receive one request and answer it; False when it was the last."""
        try:
            head = None
            with trio.move_on_after(self._settings.idle_timeout_seconds):
                head = await self._receive()
        except MalformedHead as bad:
            page = refusal(HTTPStatus(bad.status), detail=bad.reason)
            manner = _Manner(minor=1, with_body=True, keep_alive=False)
        else:
            if head is None:
                return False
            page = await self._page(head)
            manner = _manner(head, page)
        sent = await self._answer(page, manner)
        if sent and not manner.keep_alive:
            await self._linger()
        return sent and manner.keep_alive

    async def _receive(self) -> RequestHead | None:
        """The next request; None when the client sends no more."""
        while True:
            head = self._reader.read_request(self._received)
            if head is not None:
                del self._received[: head.size]
                return head
            data = await self._stream.receive_some(_RECEIVE_BYTES)
            if not data:
                return None
            self._received += data

    async def _page(self, head: RequestHead) -> Page:
        if self._only_local and not _is_local(head.host):
            return refusal(HTTPStatus.MISDIRECTED_REQUEST, detail="ask by address or as localhost")
        if head.framing is not Framing.NONE:
            return refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail="no request has a body here")
        make = self._pages.get(head.path)
        if make is None:
            return refusal(HTTPStatus.NOT_FOUND)
        if head.method not in _METHODS:
            return refusal(HTTPStatus.METHOD_NOT_ALLOWED, ("allow", ", ".join(_METHODS)))
        return await make()

    async def _answer(self, page: Page, manner: _Manner) -> bool:
        """Send a page; False when the client did not take it in time."""
        head = _head(page, manner)
        sent = False
        with trio.CancelScope(shield=True, deadline=self._deadline) as self._answering:
            if not manner.with_body:
                sent = await self._send(head)
            elif isinstance(page.body, bytes):
                sent = await self._send(head + page.body)
            else:
                sent = await self._send(head) and await self._send_pieces(page.body, manner)
        self._answering = None
        return sent

    async def _send_pieces(self, pieces: Iterator[str], manner: _Manner) -> bool:
        while taken := take_slice(pieces):
            data = "".join(taken).encode()
            if data and not await self._send(_chunk(data) if manner.minor else data):
                return False
            # Sending nothing lets nobody else have a turn.
            await trio.lowlevel.checkpoint()
        return not manner.minor or await self._send(_LAST_CHUNK)

    async def _send(self, data: bytes) -> bool:
        with trio.move_on_after(self._settings.idle_timeout_seconds):
            await self._stream.send_all(data)
            return True
        return False

    async def _linger(self) -> None:
        """Read what still comes: a close with unread data resets, and may take our answer away."""
        with trio.move_on_after(self._settings.linger_seconds):
            await self._stream.send_eof()
            while await self._stream.receive_some(_RECEIVE_BYTES):
                pass


def _manner(head: RequestHead, page: Page) -> _Manner:
    # An HTTP/1.0 client knows the end of pieces by that of the connection. A body that nobody
    # asked for is not read, so whatever follows it cannot be found.
    has_end = head.minor == 1 or isinstance(page.body, bytes)
    return _Manner(
        minor=head.minor,
        with_body=head.method != "HEAD",
        keep_alive=head.keep_alive and has_end and head.framing is Framing.NONE,
    )


def _head(page: Page, manner: _Manner) -> bytes:
    headers = [
        ("date", formatdate(usegmt=True)),
        ("content-type", page.content_type),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        *page.headers,
    ]
    if isinstance(page.body, bytes):
        headers.append(("content-length", str(len(page.body))))
    elif manner.minor:
        headers.append(("transfer-encoding", "chunked"))
    if not manner.keep_alive:
        headers.append(("connection", "close"))
    elif not manner.minor:
        headers.append(("connection", "keep-alive"))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {page.status.value} {page.status.phrase}\r\n{lines}\r\n".encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _is_local(host: str) -> bool:
    """Whether a Host is an address or localhost; HTTP/1.0 has none."""
    if host in {"", "localhost"}:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
