"""One HTTP/1.1 connection of a client, with what a lot does to its answers."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate

import h11
import trio

from apiserver.answers import Answer, Request
from apiserver.faults import Fault, Lot

Headers = Sequence[tuple[str, str]]
Send = Callable[[bytes], Awaitable[None]]
Handler = Callable[["Exchange"], Awaitable[None]]

# Go's net/http tells the length of what fits its buffer; the rest comes in chunks.
_BUFFERED = 2048
_COMPRESSED_FROM = 128 * 1024
_DRIPS = 20
_DRIP_SECONDS = 0.05


class _CutError(Exception):
    """The connection ends in the middle of what was said."""


@dataclass(eq=False)
class Exchange:
    """One request, and the way to answer it.

    Attributes:
        lot: what happens to the answer.
    """

    request: Request
    connection: h11.Connection
    stream: trio.abc.Stream
    lot: Lot | None = None
    _sent: int = 0

    async def answer(self, answer: Answer, headers: Headers) -> None:
        """Answer with a whole body."""
        body, encoding = _encoded(self.request, answer)
        short = len(body) <= _BUFFERED
        length = str(len(body))
        framing = ("Content-Length", length) if short else ("Transfer-Encoding", "chunked")
        data = self._head(answer.status, (*headers, *encoding, _date(), framing))
        data += self.connection.send(h11.Data(data=body)) or b""
        data += self.connection.send(h11.EndOfMessage()) or b""
        await self._write(data)

    async def tell(self, headers: Headers, run: Callable[[Send], Awaitable[None]]) -> None:
        """Answer with a stream that ``run`` writes, until it returns."""
        framing = ("Transfer-Encoding", "chunked")
        await self._write(self._head(200, (*headers, _date(), framing)))
        with trio.CancelScope() as whole:
            if self.lot is not None and self.lot.fault is Fault.CLOSE:
                whole.deadline = trio.current_time() + self.lot.seconds
            await run(self._chunk)
        await self._write(self.connection.send(h11.EndOfMessage()) or b"")

    async def _chunk(self, data: bytes) -> None:
        await self._write(self.connection.send(h11.Data(data=data)) or b"")

    def _head(self, status: int, headers: Headers) -> bytes:
        head = h11.Response(status_code=status, headers=list(headers), reason=_reason(status))
        return self.connection.send(head) or b""

    async def _write(self, data: bytes) -> None:
        fault = None if self.lot is None else self.lot.fault
        if self.lot is not None and fault in {Fault.CUT, Fault.HALF_OPEN}:
            left = max(self.lot.after_bytes - self._sent, 0)
            self._sent += len(data)
            await self.stream.send_all(data[:left])
            if len(data) > left:
                if fault is Fault.CUT:
                    raise _CutError
                await trio.sleep_forever()
        elif fault is Fault.DRIP:
            size = len(data) // _DRIPS + 1
            for start in range(0, len(data), size):
                await self.stream.send_all(data[start : start + size])
                await trio.sleep(_DRIP_SECONDS)
        else:
            await self.stream.send_all(data)


async def serve_connection(stream: trio.abc.Stream, handle: Handler) -> None:
    """Answer one request after the other until the client goes or breaks the protocol.

    Raises:
        h11.RemoteProtocolError: what the client sent is not HTTP/1.1.
    """
    connection = h11.Connection(h11.SERVER)
    async with stream:
        while (request := await _request(stream, connection)) is not None:
            exchange = Exchange(request, connection, stream)
            if not await _answered(exchange, handle):
                return
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()


async def _answered(exchange: Exchange, handle: Handler) -> bool:
    """Answer unless the client goes; whether the answer came to its end."""
    done = False
    async with trio.open_nursery() as nursery:

        async def end_with_client() -> None:
            await _client_gone(exchange)
            nursery.cancel_scope.cancel()

        nursery.start_soon(end_with_client)
        try:
            await handle(exchange)
            done = True
        except (_CutError, trio.BrokenResourceError):
            done = False
        nursery.cancel_scope.cancel()
    return done


async def _client_gone(exchange: Exchange) -> None:
    while True:
        try:
            data = await exchange.stream.receive_some(65536)
        except trio.BrokenResourceError:
            return
        if not data:
            return
        exchange.connection.receive_data(bytes(data))


async def _request(stream: trio.abc.Stream, connection: h11.Connection) -> Request | None:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            try:
                data = await stream.receive_some(65536)
            except trio.BrokenResourceError:
                return None
            if not data:
                # Also within a request: whoever ends may end there.
                return None
            connection.receive_data(bytes(data))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = {name.decode(): value.decode() for name, value in head.headers}
            return Request(
                head.method.decode(),
                head.target.decode(),
                headers,
                bytes(body),
                trio.current_time(),
            )
        else:
            return None


def _encoded(request: Request, answer: Answer) -> tuple[bytes, Headers]:
    """Compressed where the API server does it (k8s.io/apiserver, responsewriters)."""
    wanted = "gzip" in request.headers.get("accept-encoding", "")
    if request.method != "GET" or not wanted or len(answer.body) < _COMPRESSED_FROM:
        return answer.body, ()
    encoding = (("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
    return gzip.compress(answer.body, 1, mtime=0), encoding


def _date() -> tuple[str, str]:
    return "Date", formatdate(usegmt=True)


def _reason(status: int) -> str:
    return _REASONS[status]


_REASONS = {
    200: "OK",
    201: "Created",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    410: "Gone",
    415: "Unsupported Media Type",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
    504: "Gateway Timeout",
}
