"""What the kernel counts and tells of calls that it balances, brought to metrics and breakers.

Such calls never come to the agent. It learns of a failure by an event, within milliseconds, and
of all else when it reads the counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from edgemesh.kernel.bpf.connect_layout import ConnectEvent, EndpointCounts, EventKind, PortCounts
from edgemesh.model.flows import Ending, Refusal
from edgemesh.model.policies import Path
from edgemesh.model.services import PortKey, ServicePort
from edgemesh.policy.connect.plan import ConnectPlan, Place
from edgemesh.policy.connect.trials import Trials
from edgemesh.policy.traffic.calls import Outcome
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.upstream import Upstream
from edgemesh.proxy.context import Context
from edgemesh.proxy.forward.attempt import outcome_of_problem

# Programs that found an endpoint before it was gone have ended long since.
_GONE_SECONDS: Final = 5.0
_NOTHING: Final = EndpointCounts(0, 0, 0, 0, 0.0, 0, 0)


class CountedMaps(Protocol):
    """`ConnectMaps`, as far as counts are read."""

    def changed_ports(self) -> Iterator[tuple[int, PortCounts]]:
        """Ports with news."""
        ...

    def endpoint_count(self, endpoint_id: int) -> EndpointCounts | None:
        """One endpoint, None when it is not there."""
        ...

    def endpoint_counts(self) -> Iterator[tuple[int, EndpointCounts]]:
        """Endpoints with news."""
        ...


class _Called:
    """An endpoint that calls went to.

    Attributes:
        upstream, state: where they are counted, for as long as one of them is open.
        counts: as they were read last.
        made: connections that were counted in its meter.
    """

    __slots__ = ("counts", "made", "state", "upstream")

    def __init__(self, upstream: Upstream, state: EndpointState) -> None:
        self.upstream = upstream
        self.state = state
        self.counts = _NOTHING
        self.made = 0


class ConnectCounts:
    """See the module. For use on the data plane's thread."""

    def __init__(self, context: Context, plan: ConnectPlan, maps: CountedMaps) -> None:
        """Know of no call yet.

        Args:
            context: the data plane, whose metrics and breakers are told.
            plan: which numbers stand for what.
            maps: where the kernel counts.
        """
        self._context = context
        self._plan = plan
        self._maps = maps
        self._called: dict[int, _Called] = {}
        self._refused: dict[int, Mapping[Refusal, int]] = {}
        self._gone_since: dict[int, float] = {}
        # Of endpoints whose breakers are half-open.
        self._trials: dict[int, Trials] = {}

    @property
    def has_trials(self) -> bool:
        """Whether a breaker is half-open, so that counts should be read often."""
        return bool(self._trials)

    def is_on_trial(self, number: int) -> bool:
        """Whether calls to an endpoint are taken for trials."""
        return number in self._trials

    def begin_trials(self, number: int) -> None:
        """Take calls to an endpoint for trials from now on."""
        called, counts = self._called.get(number), self._maps.endpoint_count(number)
        if called is not None and counts is not None:
            # Those that were not read yet are none.
            self._count(number, called, counts)
        self._trials[number] = Trials()

    def end_trials(self, number: int) -> None:
        """Take them for trials no longer."""
        del self._trials[number]

    def forget_port(self, number: int) -> None:
        """A port is no longer balanced by the kernel: its number may come to stand for another."""
        self._refused.pop(number, None)

    def read(self) -> Iterator[None]:
        """Read what has changed since the last time; a step at a time."""
        for number, port_counts in self._maps.changed_ports():
            self._count_refusals(number, port_counts)
            yield
        for number, counts in self._maps.endpoint_counts():
            called = self._find(number)
            if called is not None:
                self._count(number, called, counts)
            yield
        yield from self._forget_gone()

    def hear(self, event: ConnectEvent) -> None:
        """Tell the endpoint's breaker how a call went."""
        called = self._find(event.endpoint_id)
        if called is None:
            return
        upstream, state = called.upstream, called.state
        now = self._context.reactor.clock()
        if event.kind is EventKind.CONNECT_FAILED:
            outcome = outcome_of_problem(event.value)
        else:
            outcome = Outcome.RESET if event.kind is EventKind.RESET else Outcome.SUCCESS
        trials = self._trials.get(event.endpoint_id)
        if trials is not None and trials.end():
            state.breaker.begin_trial()
        turned = upstream.note(state, outcome, now)
        if turned is not None:
            self._context.tell(turned, Path.CONNECT)

    def _find(self, number: int) -> _Called | None:
        """The record of an endpoint; None for one that nobody remembers."""
        called = self._called.get(number)
        whose = self._plan.endpoint(number)
        if whose is None or (called and (whose.gone or not called.state.draining)):
            return called
        port = self._port(whose.key)
        upstream = self._context.decider.traffic.upstream(port) if port else None
        state = _state_at(upstream, whose.place) if upstream else None
        if upstream is None or state is None:
            return called
        if called is None:
            called = self._called[number] = _Called(upstream, state)
        else:
            # Its Service was gone and is back, and nothing is remembered of it.
            called.upstream, called.state = upstream, state
            upstream.count_unseen(state, called.counts.open, 0)
        return called

    def _port(self, key: PortKey) -> ServicePort | None:
        return self._context.decider.snapshot.ports.get(key)

    def _count_refusals(self, number: int, counts: PortCounts) -> None:
        key = self._plan.port(number)
        port = self._port(key) if key else None
        if port is None:
            return
        before = self._refused.get(number, {})
        self._refused[number] = counts.refused
        for reason, total in counts.refused.items():
            times = total - before.get(reason, 0)
            if times > 0:
                self._context.metrics.refusals.count(port, reason, times)
                self._context.reports.count_unseen(port.transport, times, {Ending.REFUSED: times})

    def _count(self, number: int, called: _Called, counts: EndpointCounts) -> None:
        before = called.counts
        if counts.born != before.born:
            # It took no calls for a while, and was counted anew when it did.
            called.made = 0
            before = _NOTHING
        called.counts = counts
        begun = counts.total - before.total
        failed = counts.failed - before.failed
        resets = counts.resets - before.resets
        ended = begun - (counts.open - before.open)
        upstream, state = called.upstream, called.state
        upstream.count_unseen(state, begun, ended)
        # A connection that is being made is counted as made until it fails.
        made = max(counts.total - counts.failed - called.made, 0)
        called.made += made
        meter = self._context.metrics.meters.meter(upstream.port, state.endpoint, Path.CONNECT)
        meter.connections += made
        meter.connect_failures += failed
        meter.resets += resets
        meter.round_trips += counts.round_trips - before.round_trips
        meter.round_trip_seconds += counts.round_trip_seconds - before.round_trip_seconds
        endings = {
            Ending.CLOSED: max(ended - failed - resets, 0),
            Ending.CONNECT_FAILED: failed,
            Ending.ENDPOINT_RESET: resets,
        }
        self._context.reports.count_unseen(upstream.port.transport, begun, endings)
        trials = self._trials.get(number)
        if trials is not None and begun:
            for _ in range(trials.begin(begun)):
                state.breaker.begin_trial()
            state.changed()

    def _forget_gone(self) -> Iterator[None]:
        """Free the numbers of endpoints that are gone, when nothing is open there any more."""
        now = self._context.reactor.clock()
        for number in self._plan.gone():
            since = self._gone_since.setdefault(number, now)
            called = self._called.get(number)
            if now - since >= _GONE_SECONDS and (called is None or not called.counts.open):
                self._plan.forget(number)
                self._called.pop(number, None)
                self._trials.pop(number, None)
                del self._gone_since[number]
            yield


def _state_at(upstream: Upstream, place: Place) -> EndpointState | None:
    for state in upstream.states():
        if (state.endpoint.address, state.endpoint.port) == place:
            return state
    return None
