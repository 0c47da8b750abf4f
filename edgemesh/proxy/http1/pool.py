"""Connections to endpoints that wait for their next request, and requests that wait for one.

Connections are kept by endpoint, and by the client's address where the endpoint is to see it. The
one that was used last is used next, so that those too many grow old and are closed. An endpoint
that closes a waiting connection is noticed at once: it stays in the reactor.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from edgemesh.model.settings import HttpSettings
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.upstream import Upstream
from edgemesh.proxy.http.sweep import Sweep
from edgemesh.reactor.reactor import Handler, Reactor

if TYPE_CHECKING:
    from edgemesh.proxy.http1.upstream import UpstreamConnection

# An endpoint, the client's address where the other side is told of it, and how the endpoint is
# reached: `Context.way_to`.
PoolKey = tuple[EndpointState, str, str]


class Waiter(Handler, Protocol):
    """A request that waits until its Service port may have one more connection."""

    def connection_is_free(self) -> None:
        """Try again to take or open one."""
        ...


class Pool:
    """Idle connections and waiting requests.

    Ownership: connections in here close themselves; see `close_all`.
    """

    def __init__(self, reactor: Reactor, settings: HttpSettings) -> None:
        """Start with none."""
        self._reactor = reactor
        self._settings = settings
        self._idle: dict[PoolKey, deque[UpstreamConnection]] = {}
        self._waiting: dict[Upstream, deque[Waiter]] = {}
        self._sweep = Sweep(reactor, settings.idle_connection_seconds / 2, self._close_old)

    def take(self, key: PoolKey) -> UpstreamConnection | None:
        """The connection that was used last, None when there is none."""
        idle = self._idle.get(key)
        while idle:
            connection = idle.pop()
            if connection.generation == key[0].generation:
                return connection
            connection.close(reset=False)
        return None

    def put(self, connection: UpstreamConnection) -> bool:
        """Keep a connection for the next request; false when it is of no more use."""
        key = connection.key
        idle = self._idle.get(key)
        if idle is None:
            idle = self._idle[key] = deque()
        elif len(idle) >= self._settings.idle_connections:
            return False
        if key[0].draining or connection.generation != key[0].generation:
            return False
        connection.idle_since = self._reactor.now
        idle.append(connection)
        self._sweep.begin()
        if self._waiting:
            self.serve_waiting(connection.upstream)
        return True

    def remove(self, connection: UpstreamConnection) -> None:
        """Forget a connection that is closed while it waits."""
        idle = self._idle.get(connection.key)
        if idle is not None and connection in idle:
            idle.remove(connection)

    def drop(self, key: PoolKey) -> None:
        """Close all that wait for an endpoint: one of them was found to be dead."""
        for connection in self._idle.pop(key, ()):
            connection.close()

    def make_room(self, upstream: Upstream, limit: int) -> bool:
        """Whether a Service port may have one more connection.

        An idle one to another endpoint gives way, since it would be waited for in vain.

        Args:
            upstream: the calls of the port.
            limit: connections at a time, 0 for any number.
        """
        if not limit or upstream.connections < limit:
            return True
        for idle in self._idle.values():
            if idle and idle[0].upstream is upstream:
                idle.popleft().close()
                return True
        return False

    def wait(self, waiter: Waiter, upstream: Upstream) -> bool:
        """Let a request wait for a connection; false when too many do already."""
        limit = upstream.policy.limits.max_pending or self._settings.max_pending
        if upstream.pending >= limit:
            return False
        upstream.pending += 1
        self._waiting.setdefault(upstream, deque()).append(waiter)
        return True

    def leave(self, waiter: Waiter, upstream: Upstream) -> None:
        """Forget a request that was given up while it waited; nothing happens if it did not."""
        waiting = self._waiting.get(upstream)
        if waiting is not None and waiter in waiting:
            waiting.remove(waiter)
            self._served(upstream, waiting)

    def serve_waiting(self, upstream: Upstream) -> None:
        """A connection has become free: the request that has waited longest may go on."""
        waiting = self._waiting.get(upstream)
        if waiting:
            waiter = waiting.popleft()
            self._served(upstream, waiting)
            # Not from here: whoever frees a connection is in the middle of something.
            self._reactor.soon(waiter, waiter.connection_is_free)

    def _served(self, upstream: Upstream, waiting: deque[Waiter]) -> None:
        upstream.pending -= 1
        if not waiting:
            del self._waiting[upstream]

    def close_all(self) -> None:
        """Close every connection; the data plane is at its end."""
        self._sweep.end()
        everything, self._idle = self._idle, {}
        for idle in everything.values():
            for connection in idle:
                connection.close()

    def _close_old(self) -> bool:
        oldest = self._reactor.now - self._settings.idle_connection_seconds
        for key in list(self._idle):
            idle = self._idle[key]
            while idle and (idle[0].idle_since <= oldest or key[0].draining):
                idle.popleft().close(reset=False)
            if not idle:
                del self._idle[key]
        return bool(self._idle)
