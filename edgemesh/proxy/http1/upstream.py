"""One connection to an endpoint: a request goes out on it, a response comes back, then the next.

The response is passed on as it comes. What the client does not take at once stays with its
carrier, at most one read, and nothing more is read here until it is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgemesh.model.flows import AT_ITS_LIMIT, REASON_HEADER
from edgemesh.model.policies import RetryOn
from edgemesh.policy.traffic.calls import Outcome
from edgemesh.policy.traffic.upstream import Upstream
from edgemesh.proxy.context import Context
from edgemesh.proxy.http1.endpoint_socket import ASKED_TO_READ, EndpointSocket
from edgemesh.proxy.http1.pool import PoolKey
from edgemesh.reactor.reactor import ERROR, HANGUP, HANGUP_IN, IN, OUT
from edgemesh.wire.http1.chunks import ChunkScanner
from edgemesh.wire.http1.heads import Framing, MalformedBody, MalformedHead, ResponseHead

if TYPE_CHECKING:
    from edgemesh.proxy.http1.carrier import RequestCarrier

_READABLE = IN | HANGUP_IN | HANGUP | ERROR
# What is left of a response, where it is no number of bytes.
_HEAD = -1
_CHUNKED = -2
_UNTIL_CLOSE = -3
_UNAVAILABLE = 503
# Members of an enum are looked up slowly, and this is done for each response.
_NO_BODY = Framing.NONE
_BY_LENGTH = Framing.LENGTH
_BY_CHUNKS = Framing.CHUNKED
_TUNNEL = Framing.TUNNEL


class UpstreamConnection(EndpointSocket):
    """See the module.

    Attributes:
        requests: that were answered on it.
    """

    __slots__ = ("_chunks", "_keep", "_left", "_part", "_read_bytes", "requests")

    def __init__(self, context: Context, key: PoolKey, upstream: Upstream) -> None:
        """Prepare; see `dial`."""
        super().__init__(context, key, upstream)
        self._read_bytes = context.settings.relay_buffer_bytes
        self._left = _HEAD
        self._part = b""
        self._chunks: ChunkScanner | None = None
        self._keep = False
        self.requests = 0

    def start(self, carrier: RequestCarrier) -> None:
        """Send a request, now or as soon as the connection stands."""
        self.carrier = carrier
        self._left = _HEAD
        if self._connecting is None:
            self.send(carrier.request_bytes())
            # Of a request that had to wait for its turn, more may have come meanwhile.
            carrier.upstream_is_ready()

    # From the response to the next request.

    def on_events(self, events: int) -> None:
        """Write what waits for this socket, then read once from it."""
        carrier = self.carrier
        if self._connecting is not None:
            self._connecting.look()
            return
        if carrier is None:
            # An endpoint closes a connection that waits, or says something unasked.
            self._context.http.pool.remove(self)
            self.close()
            return
        if events & OUT and self.unsent:
            self.send_unsent(carrier)
        if events & _READABLE and not carrier.out.unsent:
            self._read(carrier)
        elif events & (ERROR | HANGUP) and carrier.out.unsent:
            # Nothing can be done about it before the client has taken what waits.
            self._watched = -1
            self._context.reactor.unregister(self._fd)

    def on_bug(self, error: Exception) -> None:
        """End the client's connection, and this one with it."""
        carrier = self.carrier
        self.close()
        if carrier is not None:
            carrier.on_bug(error)

    def _read(self, carrier: RequestCarrier) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(self._read_bytes)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(carrier, error.strerror or "")
            return
        if not data:
            self._ended(carrier)
            return
        left = self._left
        if left == _HEAD:
            self._read_head(carrier, self._part + data if self._part else data)
        elif left > 0:
            count = len(data)
            if count > left:
                data = data[:left]
                self._keep = False
                count = left
            self._left = left - count
            self._pass_on(carrier, data, count)
        else:
            self._pass_on_unmeasured(carrier, data)

    def _read_head(self, carrier: RequestCarrier, data: bytes) -> None:
        try:
            head = self._context.http.heads.read_response(data, 0)
        except MalformedHead as error:
            self._malformed(carrier, error.reason)
            return
        if head is None:
            self._part = data
            return
        if self._part:
            self._part = b""
        if head.interim:
            carrier.deliver_interim(head)
            if len(data) > head.size and self.carrier is carrier:
                self._read_head(carrier, data[head.size :])
            return
        if head.status == _UNAVAILABLE and head.value(REASON_HEADER) in AT_ITS_LIMIT:
            carrier.exchange.turned_away = True
        if not carrier.exchange.responded(head.status):
            carrier.let_go(self)
            return
        framing = head.framing if carrier.method != "HEAD" else head.framing_for("HEAD")
        self._keep = head.keep_alive
        body = len(data) - head.size
        if framing is _BY_LENGTH:
            left = head.content_length
        elif framing is _NO_BODY:
            left = 0
        elif framing is _TUNNEL:
            self._switch(carrier, head, data)
            return
        elif framing is _BY_CHUNKS:
            self._chunks = ChunkScanner(self._context.http.settings)
            left = _CHUNKED
        else:
            left = _UNTIL_CLOSE
        out = carrier.begin_response(head, ends_with_connection=left == _UNTIL_CLOSE)
        if out is not head.raw:
            data = out + data[head.size :]
        if left >= 0:
            if body > left:
                # More than was announced: whoever sent it is not to be trusted again.
                data = data[: left - body]
                self._keep = False
                body = left
            self._left = left - body
            self._pass_on(carrier, data, body)
        else:
            self._left = left
            self._pass_on_unmeasured(carrier, data, len(data) - body)

    def _switch(self, carrier: RequestCarrier, head: ResponseHead, data: bytes) -> None:
        """From here on the connection speaks another protocol (RFC 9110 section 7.8)."""
        if carrier.may_switch:
            carrier.tunnel(self, head, data)
        else:
            self._malformed(carrier, "101 that was not asked for")

    def _pass_on(self, carrier: RequestCarrier, data: bytes, body: int) -> None:
        """Give the client some of the response; ``body`` is how much of it is no head."""
        carrier.exchange.bytes_received += body
        carrier.deliver(data)
        if self.carrier is not carrier:
            return
        if not self._left:
            self._done(carrier)
        elif carrier.out.unsent:
            self.watch()

    def _pass_on_unmeasured(self, carrier: RequestCarrier, data: bytes, start: int = 0) -> None:
        """The same where the body itself tells its end; it starts at ``start`` of the data."""
        scanner = self._chunks
        if scanner is not None:
            try:
                end = scanner.feed(data, start, len(data))
            except MalformedBody as error:
                self._break(carrier, Outcome.RESET, f"malformed: {error.reason}")
                return
            if end >= 0:
                if end < len(data):
                    data = data[:end]
                    self._keep = False
                self._left = 0
        self._pass_on(carrier, data, len(data) - start)

    def _malformed(self, carrier: RequestCarrier, why: str) -> None:
        self.close()
        carrier.failed(RetryOn.RESET, f"malformed response: {why}")

    def _ended(self, carrier: RequestCarrier) -> None:
        """The endpoint has closed its side."""
        if self._left == _UNTIL_CLOSE:
            self._left = 0
            self._keep = False
            self._done(carrier)
        else:
            self._lost(carrier, "closed early")

    def _lost(self, carrier: RequestCarrier, why: str) -> None:
        if self._left != _HEAD:
            self._break(carrier, Outcome.RESET, why)
            return
        # A connection that was used before may have been closed by the endpoint just when the
        # request was sent (RFC 9112 section 9.3.1): that says nothing about the endpoint.
        stale = self.requests > 0 and not self._part
        self.close()
        if stale:
            self._context.http.pool.drop(self.key)
        carrier.failed(RetryOn.RESET, why, stale=stale)

    def _break(self, carrier: RequestCarrier, outcome: Outcome, why: str) -> None:
        """The rest of the response will not come: the client has to notice."""
        self.close()
        carrier.response_is_broken(outcome, why)

    def _done(self, carrier: RequestCarrier) -> None:
        """The response has been passed on: keep the connection if it can be used again."""
        self.requests += 1
        if self._chunks is not None:
            self._chunks = None
        limit = self.upstream.policy.limits.max_requests_per_connection
        keep = self._keep and carrier.body.is_complete and not self.unsent
        if not keep or 0 < limit <= self.requests:
            self.close(reset=not carrier.body.is_complete)
        else:
            self.carrier = None
            if self._watched != ASKED_TO_READ:
                self.watch()
            if not self._context.http.pool.put(self):
                self.close(reset=False)
        carrier.response_is_over()
