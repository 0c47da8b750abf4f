"""Changes of Nodes on their way to all nodes: gathered, and no faster than they are taken in."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import trio

from edgemesh.bus.cloudhub.down_change import DownChange
from edgemesh.bus.cloudhub.lane import Lane
from edgemesh.model.objects import ObjectKey


class Pace(NamedTuple):
    """When changes go.

    Args:
        quiet_seconds: after the last of them.
        seconds: after the first of them, at the latest.
        most_seconds: the same while readers are behind.
    """

    quiet_seconds: float
    seconds: float
    most_seconds: float


class Gatherer:
    """Holds changes back from a lane until there are no more for a moment, but not for long.

    Each batch goes to every node: when a thousand of them join, a batch for each of them would
    be a million frames.

    Args:
        lane: where changes go then.
        pace: when.
        are_behind: whether readers of the lane have not yet taken in what it has.
        released: called when some have gone.
    """

    def __init__(
        self,
        lane: Lane,
        pace: Pace,
        are_behind: Callable[[], bool],
        released: Callable[[], None],
    ) -> None:
        self._lane = lane
        self._pace = pace
        self._are_behind = are_behind
        self._released = released
        self._held: dict[ObjectKey, DownChange] = {}
        self._first_at = 0.0
        self._begun = trio.Event()
        self._gathering = trio.CancelScope()
        self._revision = 0

    def hold(self, change: DownChange) -> None:
        """Hold a change back."""
        now = trio.current_time()
        if not self._held:
            self._first_at = now
            self._begun.set()
        self._held.pop(change.key, None)
        self._held[change.key] = change
        self._gathering.deadline = min(
            self._first_at + self._pace.seconds, now + self._pace.quiet_seconds
        )

    def come_to(self, revision: int) -> None:
        """Take note that everything up to a revision is in the lane or held."""
        self._revision = max(self._revision, revision)
        if not self._held:
            self._lane.come_to(self._revision)

    def release(self) -> None:
        """Let go of everything that is held."""
        for change in self._held.values():
            self._lane.put(change)
        if self._held:
            self._held.clear()
            self._begun = trio.Event()
        self._lane.come_to(self._revision)

    async def run(self) -> None:
        """Let go of changes in their time, until cancelled."""
        while True:
            await self._begun.wait()
            with self._gathering:
                await trio.sleep_forever()
            self._gathering = trio.CancelScope()
            with trio.move_on_at(self._first_at + self._pace.most_seconds):
                # Their acknowledgements are too many to be told of each.
                while self._are_behind():  # noqa: ASYNC110
                    await trio.sleep(self._pace.seconds / 4)
            self.release()
            self._released()
