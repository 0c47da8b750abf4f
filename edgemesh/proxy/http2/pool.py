"""Connections to endpoints, shared by all clients, and requests that wait for a stream on one.

A connection carries as many requests at a time as its endpoint allows; only when all of those
to an endpoint are full another one is opened, up to a limit, and then requests wait. What is idle
for too long, or too many, is closed; an endpoint that closes is noticed at once.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Protocol

from edgemesh.model.settings import Http2Settings, HttpSettings
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.upstream import Upstream
from edgemesh.proxy.reactor import Handler, Reactor
from edgemesh.proxy.timers import Timer

if TYPE_CHECKING:
    from edgemesh.proxy.http2.upstream import UpstreamLink

# An endpoint, and the client's address where the endpoint sees it.
PoolKey = tuple[EndpointState, str]


class Waiter(Handler, Protocol):
    """A request without a stream."""

    def stream_is_free(self) -> None:
        """Try again."""
        ...


class Pool:
    """See the module.

    Ownership: connections close themselves; see `close_all`.
    """

    def __init__(self, reactor: Reactor, http: HttpSettings, settings: Http2Settings) -> None:
        """Start with none."""
        self._reactor = reactor
        self._http = http
        self._most = settings.max_upstream_connections
        # Those that take requests, and all that are open.
        self._links: dict[PoolKey, list[UpstreamLink]] = {}
        self._open: set[UpstreamLink] = set()
        self._waiting: dict[PoolKey, deque[tuple[Waiter, Upstream]]] = {}
        # Streams that were promised to requests that waited, in this turn.
        self._promised: Counter[PoolKey] = Counter()
        self._sweep: Timer[Handler] | None = None

    def __len__(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def is_queued_for(self, key: PoolKey) -> bool:
        """Whether others have waited longer than a request that comes now."""
        return key in self._waiting or self._promised[key] > 0

    def find(self, key: PoolKey) -> UpstreamLink | None:
        """A connection with room for one more request, None when there is none."""
        for link in self._links.get(key, ()):
            if link.has_room:
                return link
        return None

    def may_open(self, key: PoolKey, upstream: Upstream) -> bool:
        """Whether one more connection may be opened; an idle one may give way for it."""
        links = self._links.get(key, ())
        if len(links) >= self._most:
            return False
        limit = upstream.policy.limits.max_connections
        if not limit or upstream.connections < limit:
            return True
        for others in self._links.values():
            for link in others:
                if link.upstream is upstream and link.is_idle:
                    link.close()
                    return True
        return False

    def add(self, link: UpstreamLink) -> None:
        """Take in a connection that is opened now."""
        self._open.add(link)
        self._links.setdefault(link.key, []).append(link)
        if self._sweep is None:
            self._set_sweep()

    def remove(self, link: UpstreamLink) -> None:
        """Forget a connection that is closed."""
        self._open.discard(link)
        self.retire(link)

    def retire(self, link: UpstreamLink) -> None:
        """Give no more requests to a connection."""
        links = self._links.get(link.key)
        if links is not None and link in links:
            links.remove(link)
            if not links:
                del self._links[link.key]

    def wait(self, waiter: Waiter, key: PoolKey, upstream: Upstream) -> bool:
        """Let a request wait for a stream; false when too many do already."""
        limit = upstream.policy.limits.max_pending or self._http.max_pending
        if upstream.pending >= limit:
            return False
        upstream.pending += 1
        self._waiting.setdefault(key, deque()).append((waiter, upstream))
        return True

    def leave(self, waiter: Waiter, key: PoolKey) -> None:
        """Forget a request that was given up while it waited."""
        waiting = self._waiting.get(key)
        for entry in waiting or ():
            if entry[0] is waiter:
                assert waiting is not None
                waiting.remove(entry)
                self._served(key, waiting, entry[1])
                return
        # A stream was promised to it: the next one may have it.
        self.redeem(key)
        self.serve_waiting(key)

    def serve_waiting(self, key: PoolKey) -> None:
        """A stream or a connection has become free: who has waited longest may go on."""
        if not self._waiting:
            return
        waiting = self._waiting.get(key)
        if waiting:
            waiter, upstream = waiting.popleft()
            self._served(key, waiting, upstream)
            self._promised[key] += 1
            # Not from here: whoever frees a stream is in the middle of something.
            self._reactor.soon(waiter, waiter.stream_is_free)

    def redeem(self, key: PoolKey) -> None:
        """Note that a request that waited has been given its turn."""
        self._promised[key] -= 1
        if not self._promised[key]:
            del self._promised[key]

    def serve_any(self, upstream: Upstream) -> None:
        """A Service port may have one more connection, to whichever endpoint."""
        for key, waiting in self._waiting.items():
            if waiting[0][1] is upstream:
                self.serve_waiting(key)
                return

    def _served(
        self, key: PoolKey, waiting: deque[tuple[Waiter, Upstream]], upstream: Upstream
    ) -> None:
        upstream.pending -= 1
        if not waiting:
            del self._waiting[key]

    def close_all(self) -> None:
        """Close every connection; the data plane is at its end."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for link in list(self._open):
            link.close()

    # As the handler of its timer.

    def on_events(self, events: int) -> None:
        """Nothing is watched."""

    def on_bug(self, error: Exception) -> None:  # noqa: ARG002 - logged by the reactor
        """Sweep again later."""
        self._set_sweep()

    def _set_sweep(self) -> None:
        seconds = self._http.idle_connection_seconds / 2
        self._sweep = self._reactor.after(seconds, self, self._close_idle)

    def _close_idle(self) -> None:
        oldest = self._reactor.now - self._http.idle_connection_seconds
        for link in [one for links in self._links.values() for one in links]:
            if link.is_idle and (link.idle_since <= oldest or link.key[0].draining):
                link.close()
        self._sweep = None
        if self._links:
            self._set_sweep()
