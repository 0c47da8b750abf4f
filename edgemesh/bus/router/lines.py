"""Work that is done side by side, but that of one line in its order."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import NoReturn

import trio

Work = Callable[[], Awaitable[None]]


class WorkLines:
    """Does what it is given, once `run` runs.

    Args:
        most: works at a time, and as many more that wait.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._lines: dict[Hashable, deque[Work]] = {}
        self._begun, self._to_begin = trio.open_memory_channel[Hashable](2 * most)

    def put(self, line: Hashable, work: Work) -> bool:
        """Let work be done after all that was put into its line before.

        Returns:
            False when too much waits: then it is not done.
        """
        if self._held == 2 * self._most:
            return False
        self._held += 1
        if line in self._lines:
            self._lines[line].append(work)
        else:
            self._lines[line] = deque([work])
            self._begun.send_nowait(line)
        return True

    async def run(self) -> NoReturn:
        """Do what was put, until cancelled."""
        places = trio.CapacityLimiter(self._most)
        async with trio.open_nursery() as nursery:
            async for line in self._to_begin:
                nursery.start_soon(self._work_off, line, places)
        raise AssertionError("nobody closes the channel")

    async def _work_off(self, line: Hashable, places: trio.CapacityLimiter) -> None:
        waiting = self._lines[line]
        while waiting:
            async with places:
                await waiting.popleft()()
            self._held -= 1
        del self._lines[line]
