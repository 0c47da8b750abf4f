"""Outliers by success rate: endpoints that fail much more often than the others do.

After Envoy's outlier detection (envoy.config.cluster.v3.OutlierDetection, success_rate_*).
"""

from __future__ import annotations

from math import sqrt

from edgemesh.model.policies import Breaker
from edgemesh.policy.traffic.endpoint_state import EndpointState

# Results that are older than so many intervals say nothing about now: there were no calls since.
_STALE_INTERVALS = 2


class SuccessRates:
    """What the calls of one interval came to, by endpoint."""

    __slots__ = ("_begin", "_counts")

    def __init__(self, now: float) -> None:
        """Begin an interval."""
        self._begin = now
        self._counts: dict[EndpointState, list[int]] = {}

    def count(self, state: EndpointState, *, success: bool) -> None:
        """Note one call that is over."""
        counts = self._counts.get(state)
        if counts is None:
            counts = self._counts[state] = [0, 0]
        counts[0] += success
        counts[1] += 1

    def forget(self, state: EndpointState) -> None:
        """Leave an endpoint out of this interval, since it was ejected in it."""
        self._counts.pop(state, None)

    def outliers(self, policy: Breaker, now: float) -> list[EndpointState]:
        """Who is one, when the interval is over, which begins the next; none before."""
        age = now - self._begin
        if age < policy.interval_seconds:
            return []
        counts, self._counts = self._counts, {}
        self._begin = now
        if age > _STALE_INTERVALS * policy.interval_seconds:
            return []
        rates = {
            state: successes / total
            for state, (successes, total) in counts.items()
            if total >= policy.success_rate_request_volume
        }
        if len(rates) < max(policy.success_rate_minimum_hosts, 1):
            return []
        mean = sum(rates.values()) / len(rates)
        deviation = sqrt(sum((rate - mean) ** 2 for rate in rates.values()) / len(rates))
        least = mean - policy.success_rate_stdev_factor * deviation
        return [state for state, rate in rates.items() if rate < least]
