"""What another end may do that is allowed and costs us work: so much at once, so much a second."""

from __future__ import annotations


class Allowance:
    """A token bucket; time in seconds is passed in."""

    __slots__ = ("_burst", "_left", "_rate", "_since")

    def __init__(self, burst: float, rate: float, now: float) -> None:
        """Start full, with ``burst``, and gain ``rate`` a second."""
        self._burst = burst
        self._rate = rate
        self._left = burst
        self._since = now

    def take(self, now: float) -> bool:
        """Take one; false when there is none."""
        self._left = min(self._burst, self._left + self._rate * (now - self._since))
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
