"""Whose calls are balanced when they connect: by the cookies of network namespaces."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from edgemesh.kernel.bpf import connect_layout as layout
from edgemesh.kernel.bpf.connect_layout import Callers
from edgemesh.kernel.bpf.connect_word import AgentWord
from edgemesh.kernel.bpf.maps import Map

_YES: Final = layout.NUMBER.pack(1)


class CallerList:
    """What is in ``listed``.

    Args:
        listed: the map, empty, which stays the caller's.
        word: where programs are told what the list means.
    """

    def __init__(self, listed: Map, word: AgentWord) -> None:
        self._map = listed
        self._word = word
        self._cookies: frozenset[int] = frozenset()

    def set(self, cookies: Collection[int], *, only_listed: bool) -> None:
        """Balance the calls of these namespaces only, or of all others only.

        Raises:
            OSError: E2BIG where the map is full; who has been added by then stays.
        """
        wanted = frozenset(cookies)
        self._map.update_many([(layout.COOKIE.pack(each), _YES) for each in wanted - self._cookies])
        gone, self._cookies = self._cookies - wanted, wanted
        # Nobody pays for the look-up where everybody is treated alike.
        others = Callers.NOT_LISTED if wanted else Callers.ALL
        self._word.balance_for(Callers.LISTED if only_listed else others)
        self._map.delete_many([layout.COOKIE.pack(each) for each in gone])

    def clear(self) -> None:
        """Balance everybody's calls."""
        self._word.balance_for(Callers.ALL)
        self._map.clear()
        self._cookies = frozenset()
