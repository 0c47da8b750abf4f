"""A timer wheel: deadlines of many connections, each set and cancelled at constant cost.

Deadlines are kept by tick. A tick that has passed is handed out whole; a cancelled timer stays
in its tick as an empty shell until then, so nothing ever has to be searched for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

TICK_SECONDS = 0.05

Owner = TypeVar("Owner")


class Timer(Generic[Owner]):
    """One deadline: what to call, and whose it is. Both are None once cancelled."""

    __slots__ = ("callback", "owner")

    def __init__(self, owner: Owner, callback: Callable[[], None]) -> None:
        """Hold the callback until the deadline."""
        self.owner: Owner | None = owner
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Make sure that the callback is not called, and let go of it at once."""
        self.owner = self.callback = None


class TimerWheel(Generic[Owner]):
    """Deadlines on one monotonic clock whose readings are passed in, in seconds."""

    def __init__(self, now: float) -> None:
        """Start at ``now``."""
        self._ticks: dict[int, list[Timer[Owner]]] = {}
        self._current = int(now / TICK_SECONDS)

    def __bool__(self) -> bool:
        """Whether any timer is held, cancelled ones included."""
        return bool(self._ticks)

    def set(self, deadline: float, owner: Owner, callback: Callable[[], None]) -> Timer[Owner]:
        """Hand ``callback`` out at the first advance past ``deadline``, up to one tick late."""
        timer = Timer(owner, callback)
        tick = max(int(deadline / TICK_SECONDS) + 1, self._current + 1)
        self._ticks.setdefault(tick, []).append(timer)
        return timer

    def advance(self, now: float) -> list[Timer[Owner]]:
        """Take out the timers that are due, in the order of their ticks.

        They are returned, not called: the caller has the boundary that a failing one must not
        cross, and one of them may cancel another.
        """
        target = int(now / TICK_SECONDS)
        if target - self._current > len(self._ticks):
            # After a long sleep the ticks in use are fewer than those that have passed.
            passed = sorted(tick for tick in self._ticks if tick <= target)
        else:
            passed = [t for t in range(self._current + 1, target + 1) if t in self._ticks]
        self._current = max(self._current, target)
        return [timer for tick in passed for timer in self._ticks.pop(tick)]
