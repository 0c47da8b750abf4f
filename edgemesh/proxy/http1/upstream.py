"""One connection to an endpoint: a request goes out on it, a response comes back, then the next.

The response is passed on as it comes. What the client does not take at once stays with the
client's side, at most one read, and nothing more is read here until it is gone.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from edgemesh.kernel.sockets import fin_on_close
from edgemesh.model.policies import RetryOn
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
    from edgemesh.proxy.http1.client import ClientConnection

_READABLE = IN | HANGUP_IN | HANGUP | ERROR
# What is left of a response, where it is no number of bytes.
_HEAD = -1
_CHUNKED = -2
_UNTIL_CLOSE = -3


class UpstreamConnection:
    """See the module.

    Attributes:
        key: where the pool keeps it.
        upstream: the Service port, or subset, whose connections it counts among.
        client: whose request is on it, None while it waits in the pool.
        unsent: of the request, not taken by the socket yet.
        requests: that were answered on it.
        idle_since: when it was put into the pool.
    """

    __slots__ = (
        "_buffer",
        "_chunks",
        "_connecting",
        "_context",
        "_deadline",
        "_fd",
        "_keep",
        "_left",
        "_part",
        "_sock",
        "_watched",
        "client",
        "idle_since",
        "key",
        "requests",
        "unsent",
        "upstream",
    )

    def __init__(self, context: Context, key: PoolKey, upstream: Upstream) -> None:
        """Prepare; see `dial`."""
        self._context = context
        self._buffer = context.relay_buffer
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
        self.client: ClientConnection | None = None
        self.unsent: bytes | memoryview = b""
        self.requests = 0
        self.idle_since = 0.0

    @property
    def is_ready(self) -> bool:
        """Whether more of the request may be read from the client."""
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

    def start(self, client: ClientConnection) -> None:
        """Send a client's request, now or as soon as the connection stands."""
        self.client = client
        self._left = _HEAD
        self._keep = False
        if not self._connecting:
            self.send(client.request_bytes())

    def _connected(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        assert self._sock is not None
        problem = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            self._connect_failed(os.strerror(problem))
            return
        self._connecting = False
        self._watch()
        client = self.client
        if client is None:
            # The client has left meanwhile; the next one need not wait.
            self._release()
            return
        self.send(client.request_bytes())
        client.upstream_is_ready()

    def _connect_expired(self) -> None:
        self._deadline = None
        self._connect_failed("connect timed out")

    def _connect_failed(self, why: str) -> None:
        client = self.client
        self.close()
        if client is not None:
            client.exchange_failed(RetryOn.CONNECT_FAILURE, why, untouched=True)

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
        client = self.client
        if self._connecting:
            self._connected()
            return
        if client is None:
            # An endpoint closes a connection that waits, or says something unasked.
            self.close()
            return
        if events & OUT and self.unsent:
            self._send_unsent(client)
        if events & _READABLE and not client.out.unsent:
            self._read(client)
        elif events & (ERROR | HANGUP) and client.out.unsent:
            # Nothing can be done about it before the client has taken what waits.
            self._watched = -1
            self._context.reactor.unregister(self._fd)

    def on_bug(self, error: Exception) -> None:
        """End the client's connection, and this one with it."""
        client = self.client
        self.close()
        if client is not None:
            client.on_bug(error)

    def _send_unsent(self, client: ClientConnection) -> None:
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
            client.upstream_is_ready()

    def _read(self, client: ClientConnection) -> None:
        assert self._sock is not None
        try:
            count = self._sock.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(client, error.strerror or "")
            return
        if not count:
            self._ended(client)
            return
        data = bytes(self._buffer[:count])
        left = self._left
        if left == _HEAD:
            self._read_head(client, self._part + data if self._part else data)
        elif left > 0:
            if count > left:
                data = data[:left]
                self._keep = False
                count = left
            self._left = left - count
            self._pass_on(client, data, count)
        else:
            self._pass_on_unmeasured(client, data)

    def _read_head(self, client: ClientConnection, data: bytes) -> None:
        try:
            head = self._context.http.heads.read_response(data, 0)
        except MalformedHead as error:
            self._malformed(client, error.reason)
            return
        if head is None:
            self._part = data
            return
        self._part = b""
        if head.interim:
            client.deliver_interim(head)
            if len(data) > head.size and self.client is client:
                self._read_head(client, data[head.size :])
            return
        if not client.exchange.responded(head.status):
            self.close()
            return
        framing = head.framing_for(client.method)
        if framing is Framing.TUNNEL:
            client.tunnel(self, head, data)
            return
        self._keep = head.keep_alive
        body = len(data) - head.size
        if framing is Framing.NONE:
            left = 0
        elif framing is Framing.LENGTH:
            left = head.content_length
        elif framing is Framing.CHUNKED:
            self._chunks = ChunkScanner(self._context.http.settings)
            left = _CHUNKED
        else:
            left = _UNTIL_CLOSE
        out = client.begin_response(head, ends_with_connection=left == _UNTIL_CLOSE)
        if out is not head.raw:
            data = out + data[head.size :]
        if left >= 0:
            if body > left:
                # More than was announced: whoever sent it is not to be trusted again.
                data = data[: left - body]
                self._keep = False
                body = left
            self._left = left - body
            self._pass_on(client, data, body)
        else:
            self._left = left
            self._pass_on_unmeasured(client, data, len(data) - body)

    def _pass_on(self, client: ClientConnection, data: bytes, body: int) -> None:
        """Give the client some of the response; ``body`` is how much of it is no head."""
        client.exchange.bytes_received += body
        client.deliver(data)
        if self.client is not client:
            return
        if not self._left:
            self._done(client)
        elif client.out.unsent:
            self._watch()

    def _pass_on_unmeasured(self, client: ClientConnection, data: bytes, start: int = 0) -> None:
        """The same where the body itself tells its end; it starts at ``start`` of the data."""
        scanner = self._chunks
        if scanner is not None:
            try:
                end = scanner.feed(data, start, len(data))
            except MalformedBody as error:
                self._break(client, Outcome.RESET, f"malformed: {error.reason}")
                return
            if end >= 0:
                if end < len(data):
                    data = data[:end]
                    self._keep = False
                self._left = 0
        self._pass_on(client, data, len(data) - start)

    def _malformed(self, client: ClientConnection, why: str) -> None:
        self.close()
        client.exchange_failed(RetryOn.RESET, f"malformed response: {why}")

    def _ended(self, client: ClientConnection) -> None:
        """The endpoint has closed its side."""
        if self._left == _UNTIL_CLOSE:
            self._left = 0
            self._keep = False
            self._done(client)
        else:
            self._lost(client, "closed early")

    def _lost(self, client: ClientConnection, why: str) -> None:
        if self._left != _HEAD:
            self._break(client, Outcome.RESET, why)
            return
        # A connection that was used before may have been closed by the endpoint just when the
        # request was sent (RFC 9112 section 9.3.1): that says nothing about the endpoint.
        stale = self.requests > 0 and not self._part
        self.close()
        if stale:
            self._context.http.pool.drop(self.key)
        client.exchange_failed(RetryOn.RESET, why, stale=stale)

    def _break(self, client: ClientConnection, outcome: Outcome, why: str) -> None:
        """The rest of the response will not come: its client has to notice."""
        self.close()
        client.response_is_broken(outcome, why)

    def _done(self, client: ClientConnection) -> None:
        """The response has been passed on: keep the connection if it can be used again."""
        self.requests += 1
        self._chunks = None
        limit = self.upstream.policy.limits.max_requests_per_connection
        keep = self._keep and client.request_is_complete and not self.unsent
        if not keep or 0 < limit <= self.requests:
            self.close(reset=not client.request_is_complete)
        else:
            self.client = None
            self._release()
        client.response_is_over()

    def _release(self) -> None:
        self._watch()
        if not self._context.http.pool.put(self):
            self.close(reset=False)

    def resume(self) -> None:
        """The client has taken all that was read: go on reading."""
        self._watch()

    def leave(self) -> socket.socket:
        """Give the socket away: from now on it belongs to the caller, as does its count."""
        sock = self._sock
        assert sock is not None
        self._context.reactor.unregister(self._fd)
        self._sock = None
        self.client = None
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
        if self.client is None:
            self._context.http.pool.remove(self)
        self.client = None
        if not reset:
            fin_on_close(sock)
        self._context.reactor.close(sock)
        self._uncount()

    def _uncount(self) -> None:
        self.upstream.close_connection(self.key[0])
        self._context.http.pool.serve_waiting(self.upstream)

    def _watch(self) -> None:
        """Register for what this connection can act on now."""
        client = self.client
        wanted = 0 if client is not None and client.out.unsent else IN | HANGUP_IN
        if self.unsent:
            wanted |= OUT
        if wanted != self._watched:
            self._watched = wanted
            self._context.reactor.watch(self._fd, self, wanted)
