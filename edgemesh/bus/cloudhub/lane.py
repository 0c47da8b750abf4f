"""The changes of some kinds of objects, in the order of revisions: readers are positions in it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from operator import attrgetter

from edgemesh.bus.cloudhub.down_change import DownChange
from edgemesh.model.objects import ObjectKey

_revision_of = attrgetter("revision")


class Lane:
    """The last change of each object.

    Attributes:
        revision: of the store, up to which everything is here.
        count: of changes that ever came.
    """

    def __init__(self) -> None:
        self._last: dict[ObjectKey, DownChange] = {}
        self._log: list[DownChange] = []
        self.revision = 0
        self.count = 0

    def get(self, key: ObjectKey) -> DownChange | None:
        """The last change of an object, None when it is not known."""
        return self._last.get(key)

    def values(self) -> Iterator[DownChange]:
        """The last change of every object."""
        return iter(self._last.values())

    def after(self, revision: int) -> Iterator[DownChange]:
        """The changes behind a revision that no later ones have made void."""
        for index in range(self._index(revision), len(self._log)):
            change = self._log[index]
            if self._last.get(change.key) is change:
                yield change

    def count_after(self, revision: int) -> int:
        """About how many changes lie behind a revision."""
        return len(self._log) - self._index(revision)

    def put(self, change: DownChange) -> None:
        """Add a change, in the place of an older one of its object."""
        self.count += 1
        self._last[change.key] = change
        if self._log and self._log[-1].revision > change.revision:
            # Once only: the first list comes after what was deleted before it.
            self._log.insert(self._index(change.revision), change)
        else:
            self._log.append(change)

    def come_to(self, revision: int) -> None:
        """Take note that everything up to a revision is here."""
        self.revision = max(self.revision, revision)

    def forget(self, floor: int, history: int) -> None:
        """Let go of deletions up to a revision, and of changes that are void; now and then."""
        if len(self._log) <= 2 * len(self._last) + history:
            return
        self._last = {
            key: change
            for key, change in self._last.items()
            if not change.deleted or change.revision > floor
        }
        self._log = [change for change in self._log if self._last.get(change.key) is change]

    def clear(self) -> None:
        """Forget everything."""
        self._last.clear()
        self._log.clear()

    def _index(self, revision: int) -> int:
        return bisect_right(self._log, revision, key=_revision_of)
