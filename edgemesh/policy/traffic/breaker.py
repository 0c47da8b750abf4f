"""The breaker of one endpoint: closed, open for a while, then half-open until trials succeed.

After Envoy's outlier detection (envoy.config.cluster.v3.OutlierDetection), which has no
half-open state: an ejection's time grows with the ejections in a row and shrinks by one for each
calm interval. Nothing here runs by itself: the caller says what time it is.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from edgemesh.model.policies import Breaker
from edgemesh.policy.traffic.calls import Outcome

_NEVER = float("-inf")
_GATEWAY_ERRORS = frozenset(
    {Outcome.GATEWAY_ERROR, Outcome.CONNECT_FAILED, Outcome.RESET, Outcome.TIMEOUT}
)


def counts_as_failure(policy: Breaker, outcome: Outcome) -> bool:
    """Whether a policy minds this outcome, which is no success and was not cancelled.

    One that only counts gateway errors takes a 500 for an answer like any other.
    """
    minds_all = policy.consecutive_errors or policy.success_rate_request_volume
    return bool(minds_all) or outcome in _GATEWAY_ERRORS


class Phase(StrEnum):
    """Whether an endpoint takes calls."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class BreakerView(NamedTuple):
    """A breaker as operators see it.

    Args:
        phase: see there.
        errors: failures in a row.
        ejections: in a row.
        seconds: how long it is still out, 0.0 when it is not.
        reason: of the last ejection, "" when there was none.
    """

    phase: Phase
    errors: int
    ejections: int
    seconds: float
    reason: str


class BreakerState:
    """What a breaker remembers; its policy is an argument, since subsets have their own.

    Attributes:
        phase: see there.
        watchful: a success changes something here; False spares it the call.
        open_until: when trials begin, monotonic seconds.
        renew_at: while half-open, when trials that are not over are no longer waited for.
    """

    __slots__ = (
        "_ejections",
        "_errors",
        "_gateway_errors",
        "_last_failure",
        "_reason",
        "_returned",
        "_successes",
        "_trials",
        "open_until",
        "phase",
        "renew_at",
        "watchful",
    )

    def __init__(self) -> None:
        """Start closed, without history."""
        self.phase = Phase.CLOSED
        self.watchful = False
        self.open_until = 0.0
        self.renew_at = 0.0
        self._errors = 0
        self._gateway_errors = 0
        self._last_failure = _NEVER
        self._ejections = 0
        self._returned = _NEVER
        self._reason = ""
        self._trials = 0
        self._successes = 0

    def view(self, now: float) -> BreakerView:
        """How it stands."""
        left = max(self.open_until - now, 0.0) if self.phase is Phase.OPEN else 0.0
        return BreakerView(self.phase, self._errors, self._ejections, left, self._reason)

    def takes_calls(self, policy: Breaker, now: float) -> bool:
        """Whether a call may go there now; an ejection that is over becomes half-open by this."""
        if self.phase is Phase.CLOSED:
            return True
        if self.phase is Phase.OPEN:
            if now < self.open_until:
                return False
            self.phase = Phase.HALF_OPEN
            self._successes = 0
            self._renew(policy, now)
        elif now >= self.renew_at:
            self._renew(policy, now)
        return self._trials + self._successes < max(policy.half_open_requests, 1)

    def _renew(self, policy: Breaker, now: float) -> None:
        self._trials = 0
        self.renew_at = now + policy.interval_seconds

    def next_change(self) -> float:
        """When time alone changes whether it takes calls; infinity for never."""
        if self.phase is Phase.CLOSED:
            return float("inf")
        return self.open_until if self.phase is Phase.OPEN else self.renew_at

    def begin_trial(self) -> None:
        """A call goes to a half-open endpoint."""
        self._trials += 1

    def cancel_trial(self) -> None:
        """A call to a half-open endpoint was given up: another may try."""
        self._trials = max(self._trials - 1, 0)

    def succeed(self, policy: Breaker, now: float) -> bool:
        """Count a success; True when the endpoint takes its share again by it."""
        if self.phase is Phase.CLOSED:
            self._forget_errors()
            return False
        if not self._is_trial():
            return False
        self._trials -= 1
        self._successes += 1
        if self._successes < policy.half_open_requests:
            return False
        self.phase = Phase.CLOSED
        self._returned = now
        self._forget_errors()
        return True

    def _is_trial(self) -> bool:
        """Whether an outcome says how it stands; else the call began before the ejection."""
        return self.phase is Phase.HALF_OPEN and self._trials > 0

    def _forget_errors(self) -> None:
        self._errors = 0
        self._gateway_errors = 0
        self.watchful = False

    def fail(self, policy: Breaker, outcome: Outcome, now: float) -> str:
        """Count a failure; the reason when the endpoint has to be ejected for it, else ""."""
        if self.phase is not Phase.CLOSED:
            return "trial-failed" if self._is_trial() else ""
        if now - self._last_failure > policy.interval_seconds:
            self._forget_errors()
        self._last_failure = now
        self.watchful = True
        self._errors += 1
        self._gateway_errors = self._gateway_errors + 1 if outcome in _GATEWAY_ERRORS else 0
        if 0 < policy.consecutive_gateway_errors <= self._gateway_errors:
            return "consecutive-gateway-errors"
        if 0 < policy.consecutive_errors <= self._errors:
            return "consecutive-errors"
        return ""

    def eject(self, policy: Breaker, reason: str, now: float) -> float:
        """Take the endpoint out; for how many seconds."""
        if self.phase is Phase.CLOSED and self._ejections and policy.interval_seconds > 0:
            calm = int((now - self._returned) / policy.interval_seconds)
            self._ejections = max(self._ejections - calm, 0)
        self._ejections += 1
        seconds = min(
            policy.base_ejection_seconds * self._ejections,
            max(policy.max_ejection_seconds, policy.base_ejection_seconds),
        )
        self.phase = Phase.OPEN
        self.watchful = True
        self.open_until = now + seconds
        self._reason = reason
        return seconds

    @property
    def ejections(self) -> int:
        """Ejections in a row."""
        return self._ejections
