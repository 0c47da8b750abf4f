"""Which calls to a half-open endpoint are trials, where nobody is asked before they begin.

The kernel sends calls there by itself. The agent learns of some when it reads the counts, while
they are under way, and of others only by how they ended.
"""

from __future__ import annotations


class Trials:
    """The calls to one endpoint since it became half-open."""

    __slots__ = ("_ended_unseen", "_under_way")

    def __init__(self) -> None:
        """Know of none."""
        self._under_way = 0
        self._ended_unseen = 0

    def begin(self, count: int) -> int:
        """So many more were counted; how many of them are news, and under way."""
        known = min(count, self._ended_unseen)
        self._ended_unseen -= known
        self._under_way += count - known
        return count - known

    def end(self) -> bool:
        """One is over; whether that is the first that was heard of it."""
        if self._under_way:
            self._under_way -= 1
            return False
        self._ended_unseen += 1
        return True
