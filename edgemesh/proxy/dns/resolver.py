"""Names outside the cluster: from the cache, from upstream servers, or stale."""

from __future__ import annotations

from collections.abc import Callable

import trio

from edgemesh.model.settings import DnsSettings
from edgemesh.policy.dns_cache import DnsCache, Key
from edgemesh.proxy.dns.counters import DnsCounters
from edgemesh.proxy.dns.servers import UpstreamServers
from edgemesh.proxy.dns.upstream import AskSettings, ask_upstreams
from edgemesh.wire.dns.records import SERVER_FAILURE, Content

Waiter = Callable[[Content], None]


class Resolver:
    """Answers at once what it can; equal questions under way are asked once.

    When a question got no reply from anybody, the uplink counts as gone: from then on one
    question at a time is tried, all others are answered from the cache, however stale, or fail
    at once, until a server is heard again. So a node without its uplink does not hold every
    client up for the whole timeout.

    Ownership: asks in tasks of the nursery that it is given, which outlives it.
    """

    def __init__(
        self,
        settings: DnsSettings,
        servers: UpstreamServers,
        nursery: trio.Nursery,
        *,
        mark: int,
        counters: DnsCounters,
    ) -> None:
        self._servers = servers
        self._nursery = nursery
        self._counters = counters
        self._most_pending = settings.max_pending
        self._ask_settings = AskSettings(
            settings.upstream_timeout_seconds, settings.udp_payload_bytes, mark
        )
        self._cache = DnsCache(
            entries=settings.cache_entries,
            size_bytes=settings.cache_bytes,
            max_ttl=settings.cache_max_ttl_seconds,
            negative_ttl=settings.negative_ttl_seconds,
            stale_max=settings.stale_max_seconds,
        )
        self._waiters: dict[Key, list[Waiter]] = {}
        self._pending = 0
        self._heard_at = trio.current_time()
        self._silent = False

    def resolve(self, key: Key, waiter: Waiter) -> Content | None:
        """Answer a question of class IN.

        Args:
            key: canonical name and type.
            waiter: called once with the answer when it is not known at once, and never before
                this returns.

        Returns:
            The answer, which is SERVFAIL when there is none, or None: it will come.
        """
        now = trio.current_time()
        fresh = self._cache.fresh(key, now)
        if fresh is not None:
            self._counters.cached += 1
            return fresh
        if not self._servers.current or (self._silent and self._waiters):
            return self._stale_or_failure(key, now)
        if self._silent and self._cache.stale(key, now) is not None:
            # This question tries, but its client need not wait for what comes of it.
            self._ask_soon(key)
            return self._stale_or_failure(key, now)
        if self._pending >= self._most_pending:
            self._counters.refused += 1
            return SERVER_FAILURE
        self._pending += 1
        if key in self._waiters:
            self._waiters[key].append(waiter)
        else:
            self._ask_soon(key, waiter)
        return None

    def _ask_soon(self, key: Key, *waiters: Waiter) -> None:
        self._waiters[key] = list(waiters)
        self._counters.asked += 1
        self._nursery.start_soon(self._ask, key)

    async def _ask(self, key: Key) -> None:
        started_at = trio.current_time()
        outcome = await ask_upstreams(self._servers.current, key, self._ask_settings)
        now = trio.current_time()
        if outcome.heard:
            self._heard_at = now
            self._silent = False
        elif self._heard_at <= started_at:
            self._silent = True
        if outcome.content is None:
            content = self._stale_or_failure(key, now)
        else:
            self._cache.put(key, outcome.content, now)
            content = outcome.content
        waiters = self._waiters.pop(key)
        self._pending -= len(waiters)
        for waiter in waiters:
            waiter(content)

    def _stale_or_failure(self, key: Key, now: float) -> Content:
        stale = self._cache.stale(key, now)
        if stale is None:
            self._counters.failed += 1
            return SERVER_FAILURE
        self._counters.stale += 1
        return stale
