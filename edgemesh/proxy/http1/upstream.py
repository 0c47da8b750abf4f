"""One connection to an endpoint: a request goes out on it, a response comes back, then the next.

The response is passed on as it comes. What the client does not take at once stays with its
carrier, at most one read, and nothing more is read here until it is gone.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from edgemesh.kernel.sockets import fin_on_close
from edgemesh.model.policies import Path, RetryOn
from edgemesh.policy.traffic.calls import Outcome
from edgemesh.policy.traffic.upstream import Upstream
from edgemesh.proxy.connecting import connecting_socket
from edgemesh.proxy.context import Context
from edgemesh.proxy.http1.pool import PoolKey
from edgemesh.proxy.reactor import ERROR, HANGUP, HANGUP_IN, IN, OUT, Handler
from edgemesh.proxy.timers import Timer
from edgemesh.wire.http1.chunks import ChunkScanner
from edgemesh.wire.http1.heads import Framing, MalformedBody, MalformedHead

if TYPE_CHECKING:
    from edgemesh.proxy.http1.carrier import RequestCarrier

_READABLE = IN | HANGUP_IN | HANGUP | ERROR
# What is left of a response, where it is no number of bytes.
_HEAD = -1
_CHUNKED = -2
_UNTIL_CLOSE = -3
_ASKED_TO_READ = IN | HANGUP_IN
# Members of an enum are looked up slowly, and this is done for each response.
_NO_BODY = Framing.NONE
_BY_LENGTH = Framing.LENGTH
_BY_CHUNKS = Framing.CHUNKED
_TUNNEL = Framing.TUNNEL


class UpstreamConnection:
    """See the module.

    Attributes:
        key: where the pool keeps it.
        upstream: the Service port, or subset, whose connections it counts among.
        carrier: whose request is on it, None while it waits in the pool.
        unsent: of the request, not taken by the socket yet.
        requests: that were answered on it.
        idle_since: when it was put into the pool.
    """

    __slots__ = (
        "_chunks",
        "_connecting",
        "_context",
        "_deadline",
        "_fd",
        "_keep",
        "_left",
        "_part",
        "_read_bytes",
        "_sock",
        "_watched",
        "carrier",
        "idle_since",
        "key",
        "requests",
        "unsent",
        "upstream",
    )

    def __init__(self, context: Context, key: PoolKey, upstream: Upstream) -> None:
        """Prepare; see `dial`."""
        self._context = context
        self._read_bytes = context.settings.relay_buffer_bytes
        self._sock: socket.socket | None = None
        self._fd = -1
        self._connecting = False
        self._deadline: Timer[Handler] | None = None
        self._watched = 0
        self._left = _HEAD
        self._part = b""
        self._chunks: ChunkScanner | None = None
        self._keep = False
        self.key = key
        self.upstream = upstream
        self.carrier: RequestCarrier | None = None
        self.unsent: bytes | memoryview = b""
        self.requests = 0
        self.idle_since = 0.0

    @property
    def is_ready(self) -> bool:
        """Whether more of the request may be read from the carrier."""
        return not self._connecting and not self.unsent

    # From dialling to the request.

    def dial(self, seconds: float) -> int:
        """Start connecting.

        Args:
            seconds: for it, 0 for as long as the kernel tries.

        Returns:
            0, or the errno that says why there will be no connection.
        """
        context = self._context
        sock, problem = connecting_socket(context, self.key[0].endpoint, self.key[1])
        if sock is None:
            return problem
        self._sock = sock
        self._fd = sock.fileno()
        self.upstream.open_connection(self.key[0])
        self._connecting = True
        if seconds:
            self._deadline = context.reactor.after(seconds, self, self._connect_expired)
        context.reactor.watch_newcomer(self._fd, self, OUT)
        return 0

    def start(self, carrier: RequestCarrier) -> None:
        """Send a request, now or as soon as the connection stands."""
        self.carrier = carrier
        self._left = _HEAD
        if not self._connecting:
            self.send(carrier.request_bytes())

    def _connected(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        assert self._sock is not None
        problem = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            self._connect_failed(os.strerror(problem))
            return
        meters = self._context.metrics.meters
        meters.held(self.upstream.port, self.key[0], Path.HTTP).connections += 1
        self._connecting = False
        self._watch()
        carrier = self.carrier
        assert carrier is not None
        self.send(carrier.request_bytes())
        carrier.upstream_is_ready()

    def _connect_expired(self) -> None:
        self._deadline = None
        self._connect_failed("connect timed out")

    def _connect_failed(self, why: str) -> None:
        carrier = self.carrier
        self.close()
        if carrier is not None:
            carrier.failed(RetryOn.CONNECT_FAILURE, why, untouched=True)

    def send(self, data: bytes) -> None:
        """Send some of the request; what the socket does not take is kept as ``unsent``."""
        assert self._sock is not None
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            # Its last words, an early answer perhaps, may be here still: reading tells.
            return
        if sent < len(data):
            self.unsent = memoryview(data)[sent:]
            self._watch()

    # From the response to the next request.

    def on_events(self, events: int) -> None:
        """Write what waits for this socket, then read once from it."""
        carrier = self.carrier
        if self._connecting:
            self._connected()
            return
        if carrier is None:
            # An endpoint closes a connection that waits, or says something unasked.
            self.close()
            return
        if events & OUT and self.unsent:
            self._send_unsent(carrier)
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

    def _send_unsent(self, carrier: RequestCarrier) -> None:
        assert self._sock is not None
        try:
            sent = self._sock.send(self.unsent)
        except BlockingIOError:
            return
        except OSError:
            self.unsent = b""
            return
        self.unsent = self.unsent[sent:]
        if not self.unsent:
            self._watch()
            carrier.upstream_is_ready()

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
        if not carrier.exchange.responded(head.status):
            self.close()
            return
        framing = head.framing if carrier.method != "HEAD" else head.framing_for("HEAD")
        self._keep = head.keep_alive
        body = len(data) - head.size
        if framing is _BY_LENGTH:
            left = head.content_length
        elif framing is _NO_BODY:
            left = 0
        elif framing is _TUNNEL:
            carrier.tunnel(self, head, data)
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

    def _pass_on(self, carrier: RequestCarrier, data: bytes, body: int) -> None:
        """Give the client some of the response; ``body`` is how much of it is no head."""
        carrier.exchange.bytes_received += body
        carrier.deliver(data)
        if self.carrier is not carrier:
            return
        if not self._left:
            self._done(carrier)
        elif carrier.out.unsent:
            self._watch()

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
            if self._watched != _ASKED_TO_READ:
                self._watch()
            if not self._context.http.pool.put(self):
                self.close(reset=False)
        carrier.response_is_over()

    def resume(self) -> None:
        """The client has taken all that was read: go on reading."""
        self._watch()

    def abandon(self) -> None:
        """The request that is on it was given up: no other can follow it."""
        self.carrier = None
        self.close()

    def leave(self) -> socket.socket:
        """Give the socket away: from now on it belongs to the caller, as does its count."""
        sock = self._sock
        assert sock is not None
        self._context.reactor.unregister(self._fd)
        self._sock = None
        self.carrier = None
        return sock

    def released(self) -> None:
        """The socket that was given away is closed."""
        self._uncount()

    def close(self, *, reset: bool = True) -> None:
        """Close the connection, with a FIN if nothing is lost by it; a second call does nothing."""
        sock = self._sock
        if sock is None or self._fd < 0:
            return
        self._sock = None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self.carrier is None:
            self._context.http.pool.remove(self)
        self.carrier = None
        if not reset:
            fin_on_close(sock)
        self._context.reactor.close(sock)
        self._uncount()

    def _uncount(self) -> None:
        self.upstream.close_connection(self.key[0])
        self._context.http.pool.serve_waiting(self.upstream)

    def _watch(self) -> None:
        """Register for what this connection can act on now."""
        carrier = self.carrier
        wanted = 0 if carrier is not None and carrier.out.unsent else _ASKED_TO_READ
        if self.unsent:
            wanted |= OUT
        if wanted != self._watched:
            self._watched = wanted
            self._context.reactor.watch(self._fd, self, wanted)
