"""Which endpoints are probed, how often, and what becomes of the answers.

Theory of operation. Each endpoint of a Service port whose policy has a health check is watched
by a task of its own, which does nothing but probe, note the result and sleep: probes are sparse,
so a task costs less than its clarity is worth. A new snapshot is compared with what is watched;
a watch whose check and endpoint are the same goes on, all others end or begin. A watch begins
with a probe at once, and that one settles alone what is thought of the endpoint: an agent that
starts without the cloud knows within a timeout who is there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple

import trio

from edgemesh.model.policies import HealthCheck
from edgemesh.model.services import Endpoint, PortKey, ServicePort, Snapshot, Transport
from edgemesh.model.settings import ProxySettings
from edgemesh.observe.log import get_logger
from edgemesh.observe.metrics.exposition import Family, counter, labels
from edgemesh.policy.health import ProbeStreak
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.traffic import Traffic
from edgemesh.wire.host_port import joined

_log = get_logger("health")

# Intervals vary by so much, so that probes of many endpoints do not stay together.
_JITTER = 0.1
_HEALTHY = "healthy"
_UNHEALTHY = "unhealthy"

Ask = Callable[[HealthCheck, Endpoint], Awaitable[str | None]]


class _Subject(NamedTuple):
    """An endpoint of a Service port."""

    port: PortKey
    address: str
    endpoint_port: int


class _Watch:
    """One endpoint that is probed: by which check, and what was found so far."""

    __slots__ = ("check", "scope", "service", "state", "streak")

    def __init__(self, service: ServicePort, check: HealthCheck, state: EndpointState) -> None:
        self.service = service
        self.check = check
        self.state = state
        self.streak = ProbeStreak(check)
        self.scope = trio.CancelScope()

    def is_for(self, check: HealthCheck, state: EndpointState) -> bool:
        return self.state is state and self.check == check


class HealthChecks:
    """Keeps `EndpointState.probed_healthy` true to what endpoints answer.

    Attributes:
        probes: that were made.
        failures: those of them that found something wrong.
    """

    def __init__(
        self,
        traffic: Traffic,
        ask: Ask,
        settings: ProxySettings,
        random: Callable[[], float],
        is_beyond: Callable[[Endpoint], object] = lambda _: False,
    ) -> None:
        """Watch nothing yet; see `run`.

        Args:
            traffic: whose endpoints they are.
            ask: probes once (`Prober.ask`).
            settings: how many may be under way at a time, and how often one may go out.
            random: gives a number in [0, 1).
            is_beyond: whether an endpoint is reached by the bus; those cannot be probed from here,
                and calls tell how they are.
        """
        self._traffic = traffic
        self._is_beyond = is_beyond
        self._ask = ask
        self._places = trio.CapacityLimiter(settings.max_probes)
        self._min_interval = settings.min_probe_interval_seconds
        self._random = random
        self._snapshot = Snapshot()
        self._changed = trio.Event()
        self._watches: dict[_Subject, _Watch] = {}
        self.probes = 0
        self.failures = 0

    def swap(self, snapshot: Snapshot) -> None:
        """Go by ``snapshot`` from now on; traffic must do so already."""
        self._snapshot = snapshot
        self._changed.set()

    def look_again(self) -> None:
        """Other endpoints are reached by the bus than before."""
        self._changed.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Probe until cancelled; started when the first probes are on their way.

        Cancellation: probes that are under way are given up, and tell nothing.
        """
        async with trio.open_nursery() as nursery:
            self._compare(nursery)
            task_status.started()
            while True:
                await self._changed.wait()
                self._changed = trio.Event()
                self._compare(nursery)

    def family(self) -> Family:
        """What Prometheus gets; what is thought of endpoints is told with their breakers."""
        return counter(
            "edgemesh_health_probes_total",
            "Active health checks that were made, by result.",
            [
                (labels(result=_HEALTHY), self.probes - self.failures),
                (labels(result=_UNHEALTHY), self.failures),
            ],
        )

    def _compare(self, nursery: trio.Nursery) -> None:
        """End the watches that are no longer wanted, and begin those that are not there yet."""
        ended = self._watches
        self._watches = {}
        for port, check, state in self._wanted():
            subject = _Subject(port.key, state.endpoint.address, state.endpoint.port)
            watch = ended.get(subject)
            if watch is not None and watch.is_for(check, state):
                del ended[subject]
                watch.service = port
            else:
                watch = _Watch(port, check, state)
                nursery.start_soon(self._watch, watch)
            self._watches[subject] = watch
        for subject, watch in ended.items():
            watch.scope.cancel()
            if subject not in self._watches:
                # Nobody will say so any more.
                watch.state.probed_healthy = True

    def _wanted(self) -> Iterator[tuple[ServicePort, HealthCheck, EndpointState]]:
        for port in self._snapshot.ports.values():
            check = port.policy.health_check
            # An endpoint of a UDP port takes no connection there.
            if check is None or (port.transport is Transport.UDP and not check.port):
                continue
            upstream = self._traffic.upstream(port)
            assert upstream is not None
            for state in upstream.states():
                if not self._is_beyond(state.endpoint):
                    yield port, check, state

    async def _watch(self, watch: _Watch) -> None:
        with watch.scope:
            while True:
                began = trio.current_time()
                async with self._places:
                    problem = await self._ask(watch.check, watch.state.endpoint)
                if problem is not None:
                    self._note(watch, problem)
                interval = max(watch.check.interval_seconds, self._min_interval)
                jitter = 1 + _JITTER * (2 * self._random() - 1)
                await trio.sleep_until(began + interval * jitter)

    def _note(self, watch: _Watch, problem: str) -> None:
        self.probes += 1
        self.failures += bool(problem)
        if not watch.streak.note(passed=not problem):
            return
        healthy = not problem
        if watch.state.probed_healthy is healthy:
            return
        watch.state.probed_healthy = healthy
        _log.warning(
            f"endpoint {_HEALTHY if healthy else _UNHEALTHY}",
            service=str(watch.service),
            endpoint=joined(watch.state.endpoint.address, watch.state.endpoint.port),
            check=watch.check.kind,
            reason=problem,
        )
