"""A connection to an endpoint that carries the requests of many clients at a time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edgemesh.kernel.sockets import Address, fin_on_close
from edgemesh.model.policies import Path
from edgemesh.policy.traffic.upstream import Upstream
from edgemesh.proxy.connecting import Connecting, pooled_socket, reason_of, taken_way
from edgemesh.proxy.context import Context
from edgemesh.proxy.http2.link import CLOSED, Link
from edgemesh.proxy.http2.queue import PoolKey
from edgemesh.wire.http2.client_connection import ClientConnection

if TYPE_CHECKING:
    from edgemesh.proxy.http2.request import Http2Request


class UpstreamLink(Link[ClientConnection]):
    """See the module.

    Attributes:
        key: where the pool keeps it.
        generation: that of the endpoint's state when it was opened.
        upstream: the Service port, or subset, whose connections it counts among.
        stands: whether requests may be sent.
        expected: how many requests wait until it stands.
        most_requests: that it carries, 0 for any number.
        idle_since: when its last request was over.
    """

    __slots__ = (
        "_connecting",
        "_expecting",
        "_pool",
        "_retired",
        "expected",
        "generation",
        "idle_since",
        "key",
        "most_requests",
        "stands",
        "upstream",
    )

    def __init__(self, context: Context, key: PoolKey, upstream: Upstream) -> None:
        """Prepare; see `dial`."""
        super().__init__(context)
        self.key = key
        self.generation = key[0].generation
        self.upstream = upstream
        self.stands = False
        self.expected = 0
        self._expecting: list[Http2Request] = []
        self._pool = context.http2.pool
        self.idle_since = context.reactor.now
        self._connecting: Connecting | None = None
        self.most_requests = upstream.policy.limits.max_requests_per_connection
        self._retired = False

    @property
    def way(self) -> str:
        """How it goes by the bus, "" where it does not."""
        return taken_way(self._sock, self.key[2])

    @property
    def is_idle(self) -> bool:
        """Whether nobody would miss it."""
        return not self.connection.streams and not self.expected

    # From dialling to standing.

    def dial(self, seconds: float, client: Address) -> int:
        """Start connecting.

        Args:
            seconds: for it, 0 for as long as the kernel tries.
            client: whose request it is opened for.

        Returns:
            0, or the errno that says why there will be no connection.
        """
        context = self._context
        sock, problem = pooled_socket(context, self.key, self.upstream.port, client)
        if sock is None:
            return problem
        self._sock = sock
        self._fd = sock.fileno()
        self.connection = ClientConnection(
            self._wake_if_connected,
            self._stream_closed,
            context.http2.budget,
            context.http.settings,
            context.http2.settings,
        )
        if self.most_requests:
            self.connection.stream_limit = min(self.connection.stream_limit, self.most_requests)
        self.upstream.open_connection(self.key[0])
        self._pool.add(self)
        self._connecting = Connecting(context, sock, seconds, self, self._connected)
        return 0

    def expect(self, request: Http2Request) -> None:
        """Send a request as soon as the connection stands."""
        self._expecting.append(request)
        self.expected += 1

    def expect_no_more(self, request: Http2Request) -> None:
        """Forget a request that was given up meanwhile."""
        if request in self._expecting:
            self._expecting.remove(request)
            self.expected -= 1

    def _take_expected(self) -> list[Http2Request]:
        requests, self._expecting = self._expecting, []
        self.expected = 0
        return requests

    def on_events(self, events: int) -> None:
        """See how connecting went, or go on as a Link."""
        if self._connecting is None:
            super().on_events(events)
        else:
            self._connecting.look()

    def _wake_if_connected(self) -> None:
        if self.stands:
            self.wake()

    def _connected(self, problem: int) -> None:
        if problem:
            self._connect_failed(reason_of(self._sock) or os.strerror(problem))
            return
        meters = self._context.metrics.meters
        meters.held(self.upstream.port, self.key[0], Path.HTTP).connections += 1
        self._connecting = None
        self.stands = True
        self.watch()
        self.wake()
        for request in self._take_expected():
            request.start_on(self)

    def _connect_failed(self, why: str) -> None:
        requests = self._take_expected()
        self.close(reset=True)
        for request in requests:
            request.connect_failed(why)

    # While it stands.

    def heard(self) -> None:
        """Look whether the connection goes on."""
        connection = self.connection
        if connection.fault is not None:
            self.flush()
            self._end(f"protocol error: {connection.fault.reason}")
        elif connection.peer_leaves:
            self.retire()

    def lost(self, why: str) -> None:
        """Tell all requests on it."""
        self._end(why or "lost")

    def ended(self) -> None:
        """An endpoint that closes its direction says nothing more."""
        self._end("closed by the endpoint")

    def on_bug(self, error: Exception) -> None:
        """Give up the connection."""
        self._end(type(error).__name__)

    def count_request(self) -> None:
        """One more request was begun on a connection that carries only so many."""
        if self.connection.opened >= self.most_requests:
            self.retire()

    def retire(self) -> None:
        """Take no more requests; close when the last one is over."""
        if not self._retired:
            self._retired = True
            self.connection.retire()
            self._pool.retire(self)
            self._pool.queue.serve(self.key)
        if self.is_idle:
            # Not from here: a request may be just about to be told.
            self._reactor.soon(self, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self._fd != CLOSED and self.is_idle:
            self.close()

    def _stream_closed(self) -> None:
        if not self.connection.streams:
            self.idle_since = self._reactor.now
            if self._retired or self.key[0].draining:
                self.retire()
                return
        if not self._pool.queue.is_empty:
            self._pool.queue.serve(self.key)

    def _end(self, why: str) -> None:
        """Close; requests that are on it find out what that means for them."""
        if self._fd == CLOSED:
            return
        streams = list(self.connection.streams.values())
        stale = self.connection.opened > len(streams)
        self._connect_failed(why)
        for stream in streams:
            stream.forget()
            stream.user.connection_lost(why, stale=stale)

    def close(self, *, reset: bool = False) -> None:
        """Close the connection, with a FIN if nothing is lost by it; a second call does nothing."""
        if self._fd == CLOSED:
            return
        if self._connecting is not None:
            self._connecting.stop()
        self._pool.remove(self)
        if not reset:
            self.connection.leave()
            self.flush()
            fin_on_close(self._sock)
        if self._fd == CLOSED:
            return
        self.detach()
        self._reactor.close(self._sock)
        self.upstream.close_connection(self.key[0])
        self._pool.queue.serve(self.key)
        self._pool.queue.serve_any(self.upstream)
