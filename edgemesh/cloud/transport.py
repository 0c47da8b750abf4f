"""What carries requests of the HTTP client: connections of httpcore2.

httpx2's own transport leaves the body of an answer that is not read to its end, as every watch's,
to the garbage collector; this one closes it.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterable, AsyncIterator
from typing import Final

import httpcore2
import httpx2

from edgemesh.cloud.identity import Identity

# A connection whose other end has vanished is noticed within 25 seconds (tcp(7)), long before a
# watch has to be taken for dead by its silence.
_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
_IDLE_CONNECTIONS: Final = 4
_IDLE_SECONDS: Final = 30.0


class Transport(httpx2.AsyncBaseTransport):
    """Sends requests over as many connections as there are requests.

    Args:
        identity: who asks, and whom.
        backend: makes connections, None for those of TCP.
    """

    def __init__(
        self, identity: Identity, backend: httpcore2.AsyncNetworkBackend | None = None
    ) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=identity.context,
            max_connections=None,
            max_keepalive_connections=_IDLE_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
            socket_options=_KEEPALIVE,
            network_backend=backend,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; what goes wrong is said in httpcore2's exceptions."""
        url = request.url
        assert isinstance(request.stream, AsyncIterable)
        sent = httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        answered = await self._pool.handle_async_request(sent)
        return httpx2.Response(
            status_code=answered.status,
            headers=answered.headers,
            stream=_Body(answered),
            extensions=answered.extensions,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, answered: httpcore2.Response) -> None:
        self._answered = answered

    def __aiter__(self) -> AsyncIterator[bytes]:
        # A generator, which httpx2 closes.
        return self._answered.aiter_stream()

    async def aclose(self) -> None:
        await self._answered.aclose()
