"""Numbers by which the kernel and the agent name ports and endpoints to each other."""

from __future__ import annotations

from typing import Final

# They are 32 bits wide, and 0 is none.
MAX_ID: Final = (1 << 32) - 1


class Ids:
    """Gives numbers in turn, so that one comes again only after all others.

    A socket of which the kernel remembers a number may be closed long after the endpoint is gone;
    it must not be taken for one of the endpoint's successor.
    """

    __slots__ = ("_last", "_most", "_used")

    def __init__(self, first: int, most: int = MAX_ID) -> None:
        """Begin anywhere: what an agent before this one has given out may still be remembered.

        Args:
            first: 1 to ``most``.
            most: the greatest number.
        """
        self._last = first - 1
        self._most = most
        self._used: set[int] = set()

    def take(self) -> int:
        """The next number that is free; there has to be one."""
        number = self._last % self._most + 1
        while number in self._used:
            number = number % self._most + 1
        self._last = number
        self._used.add(number)
        return number

    def release(self, number: int) -> None:
        """Let a number be given again, when its turn comes."""
        self._used.remove(number)
