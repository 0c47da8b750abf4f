"""What was seen lately."""

from __future__ import annotations

from collections import OrderedDict


class Recent:
    """The latest ids, up to a number of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, one: str) -> bool:
        """Whether it is among them."""
        return one in self._seen

    def add(self, one: str) -> None:
        """Put one in; the one that was put in first goes when there are too many."""
        self._seen[one] = None
        self._seen.move_to_end(one)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
