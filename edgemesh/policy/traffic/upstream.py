"""The calls of one Service port, or of one of its subsets: where they go and what is open.

Hot: `choose`, `begin` and `end` run for every request. What changes seldom (who is healthy, how
near it is, what it weighs) is worked out when it changes or when its time has come, never for a
call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from edgemesh.model.flows import Refusal
from edgemesh.model.policies import Breaker, Policy, Retries
from edgemesh.model.services import ServicePort
from edgemesh.policy.traffic import selection
from edgemesh.policy.traffic.affinity import Affinity
from edgemesh.policy.traffic.breaker import Phase, counts_as_failure
from edgemesh.policy.traffic.calls import Call, Outcome
from edgemesh.policy.traffic.chooser import Chooser, Place
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.events import Event, EventKind
from edgemesh.policy.traffic.spread import Spread, spread
from edgemesh.policy.traffic.success_rates import SuccessRates

_INFINITY = float("inf")
_SUCCESS = Outcome.SUCCESS
# So many retries may be open whatever the budget says.
_FREE_RETRIES = 3
_DEFAULT_RETRIES = Retries()


class Upstream:
    """See the module.

    Attributes:
        port, subset, policy: as the snapshot has them now; subset "" for the whole port.
        requests, retries, pending, connections: open now.
    """

    __slots__ = (
        "_breaker",
        "_choosers",
        "_events",
        "_families",
        "_look_again",
        "_max_requests",
        "_place",
        "_rates",
        "_renew",
        "_states",
        "connections",
        "pending",
        "policy",
        "port",
        "requests",
        "retries",
        "subset",
    )

    def __init__(
        self,
        port: ServicePort,
        subset: str,
        random: Callable[[], float],
        affinity: Affinity,
        *,
        renew: Callable[[float], float],
    ) -> None:
        """Begin with nothing open and no endpoints; `assign` gives them.

        Args:
            port: see there.
            subset: see there.
            random: gives a number in [0, 1).
            affinity: where clients' last calls went.
            renew: `Renewal.look` at a time.
        """
        self.port = port
        self.subset = subset
        self.policy = port.policy
        self.requests = 0
        self.retries = 0
        self.pending = 0
        self.connections = 0
        self._breaker = port.policy.breaker
        self._max_requests = _INFINITY
        self._place = Place("", "", None)
        self._states: tuple[EndpointState, ...] = ()
        # For IPv4 and IPv6; what they are called by may be one for both.
        self._families = (Chooser(random, affinity), Chooser(random, affinity))
        self._choosers = self._families
        self._rates: SuccessRates | None = None
        self._events: deque[Event] = deque()
        self._look_again = -_INFINITY
        self._renew = renew

    def assign(
        self,
        port: ServicePort,
        policy: Policy,
        states: Sequence[EndpointState],
        place: Place,
        now: float,
    ) -> None:
        """Go by what a new snapshot says; what is open and counted stays so."""
        self.port = port
        self.policy = policy
        breaker = self._breaker = policy.breaker
        if breaker is None or not breaker.success_rate_request_volume:
            self._rates = None
        elif self._rates is None:
            self._rates = SuccessRates(now)
        self._max_requests = policy.limits.max_requests or _INFINITY
        self._states = tuple(states)
        self._place = place
        self.look_again()

    def look_again(self) -> None:
        """Work out anew, with the next call, who may be chosen."""
        self._look_again = -_INFINITY

    def states(self) -> Sequence[EndpointState]:
        """Its endpoints, those that take no calls now, too."""
        return self._states

    def choose(
        self, call: Call, now: float, tried: Sequence[EndpointState] = ()
    ) -> EndpointState | Refusal:
        """The endpoint that a request goes to, or why there is none.

        Args:
            call: see there.
            now: monotonic seconds.
            tried: are chosen only if no other is left.
        """
        if self.requests >= self._max_requests:
            return Refusal.OVERFLOW
        return self.choose_connection(call, now, tried)

    def choose_connection(
        self, call: Call, now: float, tried: Sequence[EndpointState] = ()
    ) -> EndpointState | Refusal:
        """The same for what is no request: a connection or datagrams (no ``max_requests``)."""
        if now >= self._look_again:
            self._look(now)
        chooser = self._choosers[call.ipv6]
        if tried:
            return chooser.pick_other(call, now, tried)
        return chooser.pick(call, now)

    def preview(self, call: Call, now: float, attempts: int) -> tuple[EndpointState, ...] | Refusal:
        """Which endpoints would be tried for a call, in order, without counting as one."""
        if now >= self._look_again:
            self._look(now)
        return self._choosers[call.ipv6].preview(call, now, attempts)

    def spread(self, now: float) -> Spread:
        """How calls are spread now by who does not ask for each."""
        return spread(self._states, self.policy, self._place.node, self._place.zone, now)

    def _look(self, now: float) -> None:
        takes_calls = [state for state in self._states if state.endpoint.weight > 0]
        four, six = selection.families(takes_calls)
        first, second = self._families
        self._look_again = min(self._renew(now), first.update(four, self.policy, self._place, now))
        if four == six:
            # One chooser, so that turns are shared.
            self._choosers = (first, first)
            return
        self._choosers = (first, second)
        self._look_again = min(self._look_again, second.update(six, self.policy, self._place, now))

    def begin(self, state: EndpointState) -> None:
        """Count a call that goes to ``state`` now."""
        self.requests += 1
        state.active += 1
        if state.breaker.watchful and state.breaker.phase is Phase.HALF_OPEN:
            state.breaker.begin_trial()
            state.changed()

    def end(
        self, state: EndpointState, outcome: Outcome, seconds: float, now: float
    ) -> Event | None:
        """Count a call that is over; the event when an endpoint was ejected or came back by it.

        Args:
            state: where it went.
            outcome: see there.
            seconds: that it took.
            now: monotonic seconds.
        """
        self.requests -= 1
        state.active -= 1
        state.calls += 1
        state.seconds += seconds
        if outcome is _SUCCESS and not state.breaker.watchful and self._rates is None:
            return None
        return self.note(state, outcome, now)

    def release(self, state: EndpointState, seconds: float) -> None:
        """The half of `end` for a call whose outcome is known before it is over: counts alone."""
        self.requests -= 1
        state.active -= 1
        state.calls += 1
        state.seconds += seconds

    def note(self, state: EndpointState, outcome: Outcome, now: float) -> Event | None:
        """The other half of `end`: what the breaker makes of an outcome."""
        if outcome is Outcome.CANCELLED:
            if state.breaker.phase is Phase.HALF_OPEN:
                state.breaker.cancel_trial()
                state.changed()
            return None
        if outcome is not _SUCCESS:
            state.failures += 1
        policy = self._breaker
        if policy is None:
            return None
        success = outcome is _SUCCESS or not counts_as_failure(policy, outcome)
        if self._rates is not None:
            self._rates.count(state, success=success)
            for outlier in self._rates.outliers(policy, now):
                self._eject(outlier, policy, "success-rate", now)
        if success:
            self._succeed(state, policy, now)
        else:
            reason = state.breaker.fail(policy, outcome, now)
            if reason:
                self._eject(state, policy, reason, now)
        # Several at once are told one by one.
        return self._events.popleft() if self._events else None

    def _succeed(self, state: EndpointState, policy: Breaker, now: float) -> None:
        breaker = state.breaker
        if breaker.succeed(policy, now):
            state.since = now
            self._tell(EventKind.RETURNED, state, "", 0.0)
            state.changed()
        elif breaker.phase is Phase.HALF_OPEN:
            state.changed()

    def _eject(self, state: EndpointState, policy: Breaker, reason: str, now: float) -> None:
        """Take an endpoint out if not too many are already."""
        breaker = state.breaker
        if breaker.phase is Phase.OPEN:
            return
        if breaker.phase is Phase.CLOSED:
            out = sum(other.breaker.phase is not Phase.CLOSED for other in self._states)
            if out >= max(len(self._states) * policy.max_ejection_percent // 100, 1):
                return
        seconds = breaker.eject(policy, reason, now)
        if self._rates is not None:
            self._rates.forget(state)
        self._tell(EventKind.EJECTED, state, reason, seconds)
        state.changed()

    def _tell(self, kind: EventKind, state: EndpointState, reason: str, seconds: float) -> None:
        ejections = state.breaker.ejections
        self._events.append(
            Event(kind, self.port, self.subset, state.endpoint, reason, seconds, ejections)
        )

    def count_unseen(self, state: EndpointState, begun: int, ended: int) -> None:
        """Count connections that begin and end without anybody asking here.

        Args:
            state: where they go.
            begun: how many more than the last time.
            ended: the same.
        """
        more = begun - ended
        self.requests += more
        self.connections += more
        state.active += more
        state.connections += more
        state.calls += ended

    def may_retry(self, retries: Retries | None = None) -> bool:
        """Whether one more retry may be open; whoever sends it counts it in ``retries``.

        Args:
            retries: of the route, None for the policy's own.
        """
        most = self.policy.limits.max_retries
        if 0 < most <= self.retries:
            return False
        budget = (retries or self.policy.retries or _DEFAULT_RETRIES).budget_percent
        return self.retries < max(self.requests * budget // 100, _FREE_RETRIES)

    def may_connect(self) -> bool:
        """Whether one more connection may be opened; see `open_connection`."""
        most = self.policy.limits.max_connections
        return most == 0 or self.connections < most

    def may_wait(self) -> bool:
        """Whether one more request may wait for a connection; who waits counts in ``pending``."""
        most = self.policy.limits.max_pending
        return most == 0 or self.pending < most

    def open_connection(self, state: EndpointState) -> None:
        """Count a connection, from the moment when it is asked for."""
        self.connections += 1
        state.connections += 1

    def close_connection(self, state: EndpointState) -> None:
        """Count a connection that is closed or has failed."""
        self.connections -= 1
        state.connections -= 1
