"""Two HTTP/2 connections back to back, without sockets: a client's and an endpoint's.

What comes on one goes to the other as the data plane lets it, with the plainest Request there
can be. `h2` plays the client and the endpoint, or a test writes the frames itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgemesh.model.settings import Http2Settings, HttpSettings
from edgemesh.wire.http2.client_connection import ClientConnection
from edgemesh.wire.http2.codes import ErrorCode
from edgemesh.wire.http2.header_reader import CacheBudget
from edgemesh.wire.http2.heads import RequestHead, ResponseHead, Trailers, response_block
from edgemesh.wire.http2.server_connection import ServerConnection
from edgemesh.wire.http2.stream import Stream

LIMITS = Http2Settings()
BUDGET_BYTES = 1 << 20


class PlainRequest:
    """Sends everything on at once."""

    def __init__(self, pair: Pair, client: Stream, head: RequestHead) -> None:
        self.client = client
        self.head = head
        self.upstream = pair.upstream.open(self, client, head.method == "HEAD")
        self.answered = False
        client.user = self

    def start(self, ended: bool) -> None:
        self.upstream.send_head(self.head.block, ended)
        self.client.partner = self.upstream

    def request_data(self, payload: bytes, ended: bool) -> None:
        raise AssertionError(payload, ended)

    def request_trailers(self, trailers: Trailers) -> None:
        self.upstream.send_trailers(trailers.block)

    def request_reset(self, code: int) -> bool:
        if self.upstream.is_open:
            self.upstream.reset(code)
        return self.answered

    def responded(self, head: ResponseHead, ended: bool) -> None:
        self.answered = True
        self.client.send_head(head.block, ended)

    def response_ended(self) -> None:
        """The data has said so."""

    def response_trailers(self, trailers: Trailers) -> None:
        self.client.send_trailers(trailers.block)

    def response_reset(self, code: int, *, refused: bool) -> None:
        self.client.reset(ErrorCode.REFUSED_STREAM if refused else code)

    def connection_lost(self, why: str, *, stale: bool) -> None:
        raise AssertionError(why, stale)


@dataclass
class Pair:
    """The proxy's two connections.

    Attributes:
        to_client, to_endpoint: written, not taken yet.
        open_sockets: those whose sockets take what is written.
    """

    http: HttpSettings = field(default_factory=HttpSettings)
    http2: Http2Settings = LIMITS

    def __post_init__(self) -> None:
        self.wakes = self.closed = 0
        self.budget = CacheBudget(BUDGET_BYTES)
        self.client = ServerConnection(self, self._wake, self.budget, self.http, self.http2)
        self.upstream = ClientConnection(
            self._wake, self._count_closed, self.budget, self.http, self.http2
        )
        self.full: set[object] = set()
        self.requests: list[PlainRequest] = []

    def _wake(self) -> None:
        self.wakes += 1

    def _count_closed(self) -> None:
        self.closed += 1

    def take_request(self, stream: Stream, head: RequestHead, ended: bool) -> None:
        request = PlainRequest(self, stream, head)
        self.requests.append(request)
        request.start(ended)

    def refuse_request(self, stream: Stream, status: int, reason: str) -> None:
        stream.send_head(response_block(status, (("x-reason", reason),)), True)
        if not stream.remote_ended:
            stream.reset(ErrorCode.NO_ERROR)

    def to_client(self) -> bytes:
        return self._take(self.client)

    def to_endpoint(self) -> bytes:
        return self._take(self.upstream)

    def _take(self, connection: ServerConnection | ClientConnection) -> bytes:
        """Everything that may be written, as a socket with room for it takes it."""
        parts = bytearray()
        while connection.output:
            parts += b"".join(connection.output)
            connection.output.clear()
            if connection in self.full:
                connection.socket_is_full()
                break
            connection.written()
        return bytes(parts)

    def drain(self, connection: ServerConnection | ClientConnection) -> None:
        """The socket has taken all and has room again."""
        self.full.discard(connection)
        connection.written()
