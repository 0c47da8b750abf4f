"""Requests that wait for a stream to their endpoint, in the order in which they came."""

from __future__ import annotations

from collections import Counter, deque
from typing import Protocol

from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.upstream import Upstream
from edgemesh.reactor.reactor import Handler, Reactor

# As that of HTTP/1: endpoint, client's address where the other side is told of it, way.
PoolKey = tuple[EndpointState, str, str]


class Waiter(Handler, Protocol):
    """A request without a stream."""

    def stream_is_free(self) -> None:
        """Try again; `Queue.redeem` is to be called first."""
        ...


class Queue:
    """See the module.

    Attributes:
        is_empty: nobody waits, for whatever.
    """

    __slots__ = ("_promised", "_reactor", "_waiting", "is_empty")

    def __init__(self, reactor: Reactor) -> None:
        """Start empty."""
        self._reactor = reactor
        self._waiting: dict[PoolKey, deque[tuple[Waiter, Upstream]]] = {}
        # Streams that were promised to requests that waited, until the end of the turn.
        self._promised: Counter[PoolKey] = Counter()
        self.is_empty = True

    def is_ahead(self, key: PoolKey) -> bool:
        """Whether others have waited longer than a request that comes now."""
        return key in self._waiting or key in self._promised

    def enter(self, waiter: Waiter, key: PoolKey, upstream: Upstream, most: int) -> bool:
        """Let a request wait; false when ``most`` of its Service port do already."""
        if upstream.pending >= most:
            return False
        upstream.pending += 1
        self._waiting.setdefault(key, deque()).append((waiter, upstream))
        self.is_empty = False
        return True

    def leave(self, waiter: Waiter, key: PoolKey) -> None:
        """Forget a request that was given up while it waited."""
        for entry in self._waiting.get(key, ()):
            if entry[0] is waiter:
                self._waiting[key].remove(entry)
                self._left(key, entry[1])
                return
        # A stream was promised to it: the next one may have it.
        self.redeem(key)
        self.serve(key)

    def serve(self, key: PoolKey) -> None:
        """A stream or a connection has become free: who has waited longest may go on."""
        waiting = self._waiting.get(key)
        if waiting:
            waiter, upstream = waiting.popleft()
            self._promised[key] += 1
            self._left(key, upstream)
            # Not from here: whoever frees a stream is in the middle of something.
            self._reactor.soon(waiter, waiter.stream_is_free)

    def serve_any(self, upstream: Upstream) -> None:
        """A Service port may have one more connection, to whichever endpoint."""
        for key, waiting in self._waiting.items():
            if waiting[0][1] is upstream:
                self.serve(key)
                return

    def redeem(self, key: PoolKey) -> None:
        """Note that a request that waited has been given its turn."""
        self._promised[key] -= 1
        if not self._promised[key]:
            del self._promised[key]
        self._note()

    def _left(self, key: PoolKey, upstream: Upstream) -> None:
        upstream.pending -= 1
        if not self._waiting[key]:
            del self._waiting[key]
        self._note()

    def _note(self) -> None:
        self.is_empty = not self._waiting and not self._promised
