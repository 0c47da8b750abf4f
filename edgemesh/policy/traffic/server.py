"""What the node that runs an endpoint lets through to it: a quota, a number at a time, a queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from edgemesh.model.flows import Refusal
from edgemesh.model.policies import ServerLimits
from edgemesh.policy.traffic.quota import QuotaState

# What lets a queued call go on; for whoever releases another one to call.
Waiter = Callable[[], None]


class Admission(NamedTuple):
    """The answer to one call.

    Args:
        refusal: None when it was admitted or queued.
        queued: it waits: `ServerState.release` will name its waiter.
        retry_after: seconds until a refused one might pass, 0.0 when nobody knows.
    """

    refusal: Refusal | None
    queued: bool
    retry_after: float


ADMITTED = Admission(None, queued=False, retry_after=0.0)
QUEUED = Admission(None, queued=True, retry_after=0.0)
_OVERFLOW = Admission(Refusal.SERVER_OVERFLOW, queued=False, retry_after=0.0)


class ServerState:
    """The calls of one Service port that this node's endpoints work on or that wait for it.

    Attributes:
        limits: what holds now.
        active: calls that were admitted and are not released yet.
    """

    __slots__ = ("_max_keys", "_quota", "_waiters", "active", "limits")

    def __init__(self, limits: ServerLimits, max_keys: int) -> None:
        """Start with nothing under way; ``max_keys`` as in `QuotaState`."""
        self.active = 0
        self._max_keys = max_keys
        self._waiters: dict[Waiter, None] = {}
        self.limits = limits
        self._quota = QuotaState(limits.quota, max_keys) if limits.quota else None

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._waiters)

    @property
    def is_full(self) -> bool:
        """Whether the next call has to wait or is refused."""
        return 0 < self.limits.max_concurrent <= self.active

    def admit(self, key: str, now: float, waiter: Waiter | None = None) -> Admission:
        """Let a call through, queue it or refuse it.

        Args:
            key: of the quota's bucket, see `QuotaState.take`.
            now: monotonic seconds.
            waiter: what `release` names when it is this call's turn; None for a call that cannot
                wait.
        """
        full = self.is_full
        if full and (waiter is None or len(self._waiters) >= self.limits.max_queue):
            return _OVERFLOW
        if self._quota is not None:
            seconds = self._quota.take(key, now)
            if seconds:
                return Admission(Refusal.SERVER_QUOTA, queued=False, retry_after=seconds)
        if full and waiter is not None:
            self._waiters[waiter] = None
            return QUEUED
        self.active += 1
        return ADMITTED

    def take(self, key: str, now: float) -> float:
        """Let through what is over at once, a datagram: 0.0, or seconds until one might pass."""
        return self._quota.take(key, now) if self._quota is not None else 0.0

    def release(self) -> Waiter | None:
        """A call that was admitted is over; the waiter, if any, that is admitted in its place."""
        self.active -= 1
        return self.next_waiter()

    def next_waiter(self) -> Waiter | None:
        """Admit the longest waiting call if there is room; None when nobody waits or it is full.

        After `change` there may be room for several: ask until None comes.
        """
        if not self._waiters or self.is_full:
            return None
        waiter = next(iter(self._waiters))
        del self._waiters[waiter]
        self.active += 1
        return waiter

    def abandon(self, waiter: Waiter) -> None:
        """Take a call that has waited too long, or was given up, out of the queue."""
        self._waiters.pop(waiter, None)

    def change(self, limits: ServerLimits, now: float) -> None:
        """Go by other limits; what is admitted and queued stays so."""
        if limits.quota is None:
            self._quota = None
        elif self._quota is None:
            self._quota = QuotaState(limits.quota, self._max_keys)
        else:
            self._quota.change(limits.quota, now)
        self.limits = limits
