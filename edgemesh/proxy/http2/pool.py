"""Connections to endpoints, shared by all clients.

A connection carries as many requests at a time as its endpoint allows; only when all of those
to an endpoint are full another one is opened, up to a limit, and then requests wait. What is idle
for too long, or too many, is closed; an endpoint that closes is noticed at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgemesh.model.settings import Http2Settings, HttpSettings
from edgemesh.policy.traffic.upstream import Upstream
from edgemesh.proxy.http.sweep import Sweep
from edgemesh.proxy.http2.queue import PoolKey, Queue
from edgemesh.reactor.reactor import Reactor

if TYPE_CHECKING:
    from edgemesh.proxy.http2.upstream import UpstreamLink


class Pool:
    """See the module.

    Ownership: connections close themselves; see `close_all`.

    Attributes:
        queue: requests that wait for a stream.
    """

    def __init__(self, reactor: Reactor, http: HttpSettings, settings: Http2Settings) -> None:
        """Start with none."""
        self._reactor = reactor
        self._http = http
        self._most = settings.max_upstream_connections
        # Those that take requests, and all that are open.
        self._links: dict[PoolKey, list[UpstreamLink]] = {}
        self._open: set[UpstreamLink] = set()
        self.queue = Queue(reactor)
        self._sweep = Sweep(reactor, http.idle_connection_seconds / 2, self._close_idle)

    def __len__(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def find(self, key: PoolKey) -> UpstreamLink | None:
        """A connection with room for one more request, None when there is none."""
        links = self._links.get(key, ())
        if links and links[0].generation != key[0].generation:
            self._retire_old(key)
            links = self._links.get(key, ())
        for link in links:
            connection = link.connection
            if len(connection.streams) + link.expected < connection.stream_limit:
                return link
        return None

    def _retire_old(self, key: PoolKey) -> None:
        for link in list(self._links[key]):
            if link.stands and link.generation != key[0].generation:
                link.retire()

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
        self._sweep.begin()

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

    def close_all(self) -> None:
        """Close every connection; the data plane is at its end."""
        self._sweep.end()
        for link in list(self._open):
            link.close()

    def _close_idle(self) -> bool:
        oldest = self._reactor.now - self._http.idle_connection_seconds
        for link in [one for links in self._links.values() for one in links]:
            if link.is_idle and (link.idle_since <= oldest or link.key[0].draining):
                link.close()
        return bool(self._links)
