"""Quotas: token buckets, kept as the one number that says when a bucket will be full.

That number is the theoretical arrival time of the generic cell rate algorithm (ITU-T I.371): a
bucket that is full holds ``burst`` tokens, and each token takes ``1 / rate`` seconds to come.
"""

from __future__ import annotations

from edgemesh.model.policies import Quota

# Sums of durations are not exact; what is off by less is in time.
_ROUNDING_SECONDS = 1e-9


class QuotaState:
    """The buckets of one quota: one for all calls, or one for each source or route.

    A bucket that was not used for long gives way to a new one; it is most often full by then,
    and a bucket without history is full.
    """

    __slots__ = ("_depth", "_full_at", "_keyed", "_max_keys", "_period", "quota")

    def __init__(self, quota: Quota, max_keys: int) -> None:
        """Start with full buckets.

        Args:
            quota: its rate is above 0.
            max_keys: how many buckets of sources or routes are kept.
        """
        self._max_keys = max_keys
        self._full_at = 0.0
        self._keyed: dict[str, float] = {}
        self._apply(quota)

    def _apply(self, quota: Quota) -> None:
        self.quota = quota
        self._period = 1.0 / quota.rate
        self._depth = max(quota.burst, 1) * self._period

    def take(self, key: str, now: float) -> float:
        """Take one token.

        Args:
            key: "" for the scope of the whole Service, else the workload or the route.
            now: monotonic seconds.

        Returns:
            0.0 when the call may pass, else the seconds until one might.
        """
        if key:
            return self._take_of(key, now)
        full_at = self._full_at
        if full_at < now:  # noqa: PLR1730 - max() takes twice as long
            full_at = now
        full_at += self._period
        excess = full_at - now - self._depth
        if excess > _ROUNDING_SECONDS:
            return excess
        self._full_at = full_at
        return 0.0

    def _take_of(self, key: str, now: float) -> float:
        buckets = self._keyed
        full_at = buckets.pop(key, now)
        if full_at < now:  # noqa: PLR1730 - max() takes twice as long
            full_at = now
        excess = full_at + self._period - now - self._depth
        if excess > _ROUNDING_SECONDS:
            buckets[key] = full_at
            return excess
        buckets[key] = full_at + self._period
        if len(buckets) > self._max_keys:
            # Dictionaries keep order: the first is the one that was not used for longest.
            del buckets[next(iter(buckets))]
        return 0.0

    def change(self, quota: Quota, now: float) -> None:
        """Go by another rate, burst or scope; what tokens there are stay, up to the new burst."""
        if quota == self.quota:
            return
        period, depth = self._period, self._depth
        other_scope = quota.scope is not self.quota.scope
        self._apply(quota)
        if other_scope:
            self._full_at = 0.0
            self._keyed.clear()
            return
        self._full_at = self._converted(self._full_at, now, period, depth)
        for key, full_at in self._keyed.items():
            self._keyed[key] = self._converted(full_at, now, period, depth)

    def _converted(self, full_at: float, now: float, period: float, depth: float) -> float:
        tokens = (depth - max(full_at - now, 0.0)) / period
        return now + self._depth - min(tokens * self._period, self._depth)
