"""How long to wait before a connection is tried again."""

from __future__ import annotations


class Reconnect:
    """Pauses that double from failure to failure, with jitter.

    A connection that was made and lost again counts as a failure as well, unless it lasted for
    longer than the longest pause: whoever accepts and cuts must not be asked in a loop.

    Args:
        first: seconds of the first pause.
        most: seconds of the longest.
    """

    def __init__(self, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self._failures = 0

    def pause(self, lasted: float, chance: float) -> float:
        """Seconds to wait after a connection that ended, or was never made.

        Args:
            lasted: how long it was good, 0 when it was never made.
            chance: from 0 to 1, by lot: many nodes that lose one cloud come back one by one.
        """
        if lasted > self._most:
            self._failures = 0
        # Beyond 2 ** 32 nothing would change but the size of a number.
        pause = min(self._first * 2.0 ** min(self._failures, 32), self._most)
        self._failures += 1
        return pause * (0.5 + chance / 2)
