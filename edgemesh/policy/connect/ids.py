"""Numbers by which the kernel and the agent name ports and endpoints to each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

# They are 32 bits wide, and 0 is none.
MAX_ID: Final = (1 << 32) - 1


class Ids:
    """Gives numbers in turn, so that one comes again only after all others.

    A socket of which the kernel remembers a number may be closed long after the endpoint is gone;
    it must not be taken for one of the endpoint's successor.
    """

    __slots__ = ("_is_used", "_last", "_most")

    def __init__(self, first: int, is_used: Callable[[int], bool], most: int = MAX_ID) -> None:
        """Begin anywhere: what an agent before this one has given out may still be remembered.

        Args:
            first: 1 to ``most``.
            is_used: whether a number stands for something now; there are more than that.
            most: the greatest number.
        """
        self._last = first - 1
        self._is_used = is_used
        self._most = most

    def take(self) -> int:
        """The next number that is free."""
        number = self._last % self._most + 1
        while self._is_used(number):
            number = number % self._most + 1
        self._last = number
        return number
