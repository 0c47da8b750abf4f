"""A timer wheel: deadlines of many connections, each set and cancelled at constant cost.

Deadlines are kept by tick. A tick that has passed is handed out whole; a cancelled timer stays
in its tick as an empty shell, so that nothing has to be searched for. When more than half of
all timers are shells they are swept out at once: connections that come and go by the thousand
would otherwise leave an hour's worth of them behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

TICK_SECONDS = 0.05
# Below so many shells a sweep is not worth its walk over the ticks.
_SHELLS_KEPT = 256

Owner = TypeVar("Owner")


class Timer(Generic[Owner]):
    """One deadline: what to call, and whose it is. Both are None once cancelled."""

    __slots__ = ("_wheel", "callback", "owner")

    def __init__(
        self, wheel: TimerWheel[Owner], owner: Owner, callback: Callable[[], None]
    ) -> None:
        """Hold the callback until the deadline; made by `TimerWheel.set`."""
        self._wheel: TimerWheel[Owner] | None = wheel
        self.owner: Owner | None = owner
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Make sure that the callback is not called, and let go of it at once."""
        self.owner = self.callback = None
        wheel, self._wheel = self._wheel, None
        if wheel is not None:
            wheel.count_shell()

    def take_out(self) -> None:
        """Note that no wheel holds it any more."""
        self._wheel = None


class TimerWheel(Generic[Owner]):
    """Deadlines on one monotonic clock whose readings are passed in, in seconds."""

    def __init__(self, now: float) -> None:
        """Start at ``now``."""
        self._ticks: dict[int, list[Timer[Owner]]] = {}
        self._current = int(now / TICK_SECONDS)
        self._held = 0
        self._shells = 0

    def __len__(self) -> int:
        """How many timers are to fire yet."""
        return self._held - self._shells

    @property
    def held(self) -> int:
        """How many timers take up memory, shells included."""
        return self._held

    def set(self, deadline: float, owner: Owner, callback: Callable[[], None]) -> Timer[Owner]:
        """Hand ``callback`` out at the first advance past ``deadline``, up to one tick late."""
        timer = Timer(self, owner, callback)
        tick = max(int(deadline / TICK_SECONDS) + 1, self._current + 1)
        self._ticks.setdefault(tick, []).append(timer)
        self._held += 1
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
        due = []
        for tick in passed:
            timers = self._ticks.pop(tick)
            live = [timer for timer in timers if timer.callback is not None]
            self._held -= len(timers)
            self._shells -= len(timers) - len(live)
            due += live
        for timer in due:
            timer.take_out()
        return due

    def count_shell(self) -> None:
        """Take note of a cancelled timer, and sweep when shells are most of what is held."""
        self._shells += 1
        if self._shells > _SHELLS_KEPT and 2 * self._shells > self._held:
            swept = {
                tick: [timer for timer in timers if timer.callback is not None]
                for tick, timers in self._ticks.items()
            }
            self._ticks = {tick: timers for tick, timers in swept.items() if timers}
            self._held -= self._shells
            self._shells = 0
