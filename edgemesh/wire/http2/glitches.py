"""What a peer may do that is allowed, useless, and costs us work: so much and no more.

Every known flood (rapid resets, CONTINUATION, PING, SETTINGS, empty DATA, PRIORITY) is made of
frames that are each fine. They are counted against one budget per connection, which fills up
again with time: a client that cancels now and then, or that pings to measure, never notices.
"""

from __future__ import annotations

from edgemesh.wire.http2.codes import ConnectionFault, ErrorCode


class GlitchBudget:
    """A token bucket; time in seconds is passed in."""

    __slots__ = ("_burst", "_left", "_rate", "_since")

    def __init__(self, burst: int, rate: float) -> None:
        """Start full, with ``burst`` glitches, and gain ``rate`` of them a second."""
        self._burst = burst
        self._rate = rate
        self._left = float(burst)
        self._since: float | None = None

    def spend(self, now: float, kind: str) -> None:
        """Take note of one glitch.

        Raises:
            ConnectionFault: there were too many.
        """
        if self._since is not None:
            self._left = min(self._burst, self._left + self._rate * (now - self._since))
        self._since = now
        self._left -= 1
        if self._left < 0:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many {kind}")
