"""Requests that the kernel counts while it moves them: where flows of that kind begin and end.

A Service port has one bucket of tokens for all its flows, and each of its endpoints one tally.
Both stay where they are when no flow is open, so that a bucket does not fill by that, until room
is needed for others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import trio

from edgemesh.kernel.bpf.observed_maps import (
    LATENCIES,
    NANOSECONDS,
    STATUSES,
    TALLY_WORDS,
    UNOBSERVED,
    UNOBSERVED_FLOWS,
    ObservedMaps,
    Watch,
)
from edgemesh.model.flows import Mover
from edgemesh.model.meters import LATENCY_BOUNDS
from edgemesh.model.policies import Path, Quota
from edgemesh.model.services import Endpoint, PortKey, ServicePort, Snapshot
from edgemesh.observe.slices import run_in_slices
from edgemesh.proxy.context import Context
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.carried import Carried
from edgemesh.proxy.forward.gate_member import Member
from edgemesh.proxy.forward.observed_end import ObservedEnd
from edgemesh.proxy.forward.sockmap import Sockmap

_READ_SECONDS: Final = 1.0
_NO_ROOM: Final = "no room"
_NOT_ENTERED: Final = "not entered"
# Where Meter.latencies has what took less than 2^i microseconds: never too low.
_BUCKETS: Final = tuple(
    bisect_left(LATENCY_BOUNDS, 2**power / 1e6) for power in range(LATENCIES.stop - LATENCIES.start)
)


class _Bucket:
    """The tokens of a Service port."""

    __slots__ = ("flows", "index", "quota")

    def __init__(self, index: int) -> None:
        self.index = index
        self.flows = 0
        self.quota: Quota | None = None


class _Tally:
    """What is counted of an endpoint, and what of that the metrics have."""

    __slots__ = ("before", "endpoint", "flows", "index", "port")

    def __init__(self, index: int, port: ServicePort, endpoint: Endpoint) -> None:
        self.index = index
        self.port = port
        self.endpoint = endpoint
        self.flows = 0
        self.before: Sequence[int] = (0,) * TALLY_WORDS


class _Observed:
    """One flow; an `Observation`."""

    def __init__(self, maps: ObservedMaps, flow: Flow, bucket: _Bucket, tally: _Tally) -> None:
        self.sources = maps.sources
        self.flow = flow
        self.bucket = bucket
        self.tally = tally
        self.watch: Watch | None = None
        self._maps = maps

    def prepare(self, member: Member) -> None:
        """Count from now on."""
        number = member.client.way.number // 2
        self.watch = self._maps.watch(number, self.bucket.index, self.tally.index)
        member.observed = partial(ObservedEnd, member, self.watch)


class Observer:
    """See the module. For use on the data plane's thread."""

    def __init__(self, context: Context, sockmap: Sockmap, maps: ObservedMaps) -> None:
        """Prepare; `run` begins.

        Ownership: the maps are the caller's, who closes them when all flows are over.
        """
        self._context = context
        self._sockmap = sockmap
        self._maps = maps
        self._buckets: dict[PortKey, _Bucket] = {}
        self._tallies: dict[tuple[PortKey, str, int], _Tally] = {}
        self._free_buckets = list(range(maps.ports))
        self._free_tallies = list(range(maps.endpoints))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Observe flows that want it, and bring counts to the metrics, until cancelled."""
        self._context.movers.observe = self.begin
        try:
            task_status.started()
            while True:
                await trio.sleep(_READ_SECONDS)
                await run_in_slices(self.read())
        finally:
            self._context.movers.observe = None

    def want(self, snapshot: Snapshot) -> None:
        """Go by the quotas of a new snapshot."""
        for key, bucket in self._buckets.items():
            port = snapshot.ports.get(key)
            if port is not None:
                self._set_quota(bucket, port)

    def read(self) -> Iterator[None]:
        """Bring what was counted to the metrics, a step at a time."""
        for tally in list(self._tallies.values()):
            # What has no flows was read when it had.
            if tally.flows:
                self._read(tally)
                yield

    def begin(self, flow: Flow) -> None:
        """Take a flow of which nothing was read, and that is connected to its endpoint."""
        context = self._context
        carried = Carried(context.reactor.now, unheard=flow.attempt is not None)
        observed = self._observed(flow)
        member: Member | None = None
        if observed is None:
            self._unobserved(flow, _NO_ROOM)
        else:
            carried.over = partial(self._over, observed)
            member = self._sockmap.admit(flow, carried, observed)
            if member is None or not member.client.entered:
                self._unobserved(flow, _NOT_ENTERED)
        if member is None:
            context.movers.carry_on(flow, carried, Mover.RELAY)
        else:
            self._sockmap.begin(flow, carried)

    def _unobserved(self, flow: Flow, why: str) -> None:
        flow.unobserved = why
        self._context.metrics.unobserved[why] += 1

    def _observed(self, flow: Flow) -> _Observed | None:
        """Count a flow in; None when there is no room."""
        assert flow.verdict is not None
        assert flow.endpoint is not None
        port = flow.verdict.port
        assert port is not None
        bucket = self._bucket(port)
        tally = self._tally(port, flow.endpoint)
        if bucket is None or tally is None:
            return None
        bucket.flows += 1
        tally.flows += 1
        return _Observed(self._maps, flow, bucket, tally)

    def _bucket(self, port: ServicePort) -> _Bucket | None:
        bucket = self._buckets.get(port.key)
        if bucket is None:
            index = _room(self._free_buckets, self._make_room_for_bucket)
            if index is None:
                return None
            bucket = self._buckets[port.key] = _Bucket(index)
            self._maps.fill(index)
            self._maps.set_quota(index, 0.0, 1)
        self._set_quota(bucket, port)
        return bucket

    def _set_quota(self, bucket: _Bucket, port: ServicePort) -> None:
        quota = port.policy.client_quota
        if quota != bucket.quota:
            bucket.quota = quota
            rate, burst = (quota.rate, quota.burst) if quota else (0.0, 1)
            self._maps.set_quota(bucket.index, rate, max(burst, 1))

    def _tally(self, port: ServicePort, endpoint: Endpoint) -> _Tally | None:
        key = (port.key, endpoint.address, endpoint.port)
        tally = self._tallies.get(key)
        if tally is None:
            index = _room(self._free_tallies, self._make_room_for_tally)
            if index is None:
                return None
            tally = self._tallies[key] = _Tally(index, port, endpoint)
            self._maps.clear(index)
        return tally

    def _make_room_for_bucket(self) -> Iterator[int]:
        for key, bucket in self._buckets.items():
            if not bucket.flows:
                del self._buckets[key]
                yield bucket.index
                return

    def _make_room_for_tally(self) -> Iterator[int]:
        for key, tally in self._tallies.items():
            if not tally.flows:
                del self._tallies[key]
                yield tally.index
                return

    def _over(self, observed: _Observed) -> None:
        """A flow is over, and out of the gate."""
        flow, watch = observed.flow, observed.watch
        if watch is not None:
            flow.requests = watch.requests
            flow.refused_requests = watch.refused
            flow.unobserved = flow.unobserved or watch.unobserved
        self._read(observed.tally)
        observed.bucket.flows -= 1
        observed.tally.flows -= 1

    def _read(self, tally: _Tally) -> None:
        now = self._maps.tally(tally.index)
        if now == tally.before:
            return
        more = [after - before for after, before in zip(now, tally.before, strict=True)]
        tally.before = now
        metrics = self._context.metrics
        meter = metrics.meters.meter(tally.port, tally.endpoint, Path.SPLICE)
        for digit, count in enumerate(more[STATUSES]):
            meter.responses[digit] += count
        for bucket, count in zip(_BUCKETS, more[LATENCIES], strict=True):
            meter.latencies[bucket] += count
        meter.seconds += more[NANOSECONDS] / 1e9
        for why, count in zip(UNOBSERVED, more[UNOBSERVED_FLOWS], strict=True):
            if count:
                metrics.unobserved[why] += count


def _room(free: list[int], make: Callable[[], Iterator[int]]) -> int | None:
    """An index that nobody uses, None when there is none."""
    return free.pop() if free else next(make(), None)
