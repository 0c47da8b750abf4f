"""What one node is sent: where it stands in the changes, and what comes before they go on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from edgemesh.bus.close_codes import CloseCode
from edgemesh.bus.cloudhub.changes import Changes
from edgemesh.bus.cloudhub.down_change import DownChange
from edgemesh.bus.cloudhub.lane import Lane
from edgemesh.bus.cloudhub.mesh_frames import MeshFrames, Place, Standing
from edgemesh.model.objects import ObjectKey
from edgemesh.policy.bus.outbox import Outgoing

End = Callable[[CloseCode, str], None]


class Course(Protocol):
    """A node's way through the changes."""

    @property
    def revision(self) -> int:
        """That the node has come to when it has all that was sent."""

    @property
    def waiting(self) -> int:
        """How many changes the node has not yet been sent, about."""

    @property
    def is_behind(self) -> bool:
        """Whether deletions may be forgotten that the node has not seen."""

    def next(self) -> Outgoing | None:
        """Go on; None when there is nothing at present."""

    def passed(self, key: ObjectKey) -> DownChange | None:
        """The newest state of an object that is not to come anyway."""

    def mark_again(self) -> None:
        """What was sent is lost, and what it said of the node's place with it."""


class DownFeed:
    """See the module.

    Args:
        changes: of the store.
        course: what the node is sent of them.
        end: ends the session; the node comes back and begins anew.
    """

    def __init__(self, changes: Changes, course: Course, end: End) -> None:
        self._changes = changes
        self._course = course
        self._end = end
        self._again: dict[ObjectKey, None] = {}
        self._ahead: deque[Outgoing] = deque()

    @property
    def revision(self) -> int:
        """That the node has come to when it has all that was sent."""
        return self._course.revision

    @property
    def waiting(self) -> int:
        """How many changes the node has not yet been sent, about."""
        return self._course.waiting + len(self._again) + len(self._ahead)

    def add(self, outgoing: Outgoing) -> None:
        """Send a Message ahead of all others."""
        self._ahead.append(outgoing)

    def ask_again(self, keys: Iterable[ObjectKey]) -> None:
        """Send the newest states of objects; they come before everything else."""
        self._again.update(dict.fromkeys(keys))
        self._course.mark_again()

    def next(self) -> Outgoing | None:
        """The next frame, None when there is none at present."""
        if self._ahead:
            return self._ahead.popleft()
        if not self._changes.listed:
            return None
        if self._course.is_behind:
            self._end(CloseCode.ANEW, "deletions that this node has not seen are forgotten")
            return None
        return self._next_again() or self._course.next()

    def _next_again(self) -> Outgoing | None:
        while self._again:
            key = next(iter(self._again))
            del self._again[key]
            change = self._course.passed(key)
            if change is not None:
                return alone(change)
        return None


class MeshCourse:
    """Of an edgemesh node: everything from a revision on, and when that was all.

    Args:
        changes: of the store.
        frames: of them.
        store: that the node has followed so far, "" when it is new.
        revision: that it has come to.

    Attributes:
        full: whether the node is sent all that there is.
        since: the revision of the store from which on it hears of deletions.
    """

    def __init__(self, changes: Changes, frames: MeshFrames, store: str, revision: int) -> None:
        self._changes = changes
        self._frames = frames
        known = store == changes.store_uid and changes.floor <= revision <= changes.head
        self.full = not known or revision == 0
        self.since = changes.head if self.full else revision
        self._standing = Standing(
            self._begin(changes.objects, revision), self._begin(changes.nodes, revision), -1
        )

    @property
    def revision(self) -> int:
        """See `Course`."""
        return self._standing.revision

    @property
    def waiting(self) -> int:
        """See `Course`."""
        return sum(lane.count_after(place.revision) for lane, place in self._lanes())

    @property
    def is_behind(self) -> bool:
        """See `Course`."""
        return any(max(place) < self._changes.floor for _, place in self._lanes())

    def next(self) -> Outgoing | None:
        """See `Course`."""
        outgoing, self._standing = self._frames.next(self._standing)
        return outgoing

    def passed(self, key: ObjectKey) -> DownChange | None:
        """See `Course`."""
        for lane, place in self._lanes():
            change = lane.get(key)
            if change is not None and change.revision <= place.revision:
                return change
        return None

    def mark_again(self) -> None:
        """See `Course`."""
        self._standing = self._standing._replace(marked=-1)

    def _begin(self, lane: Lane, revision: int) -> Place:
        return Place(0, lane.revision) if self.full else Place(revision, revision)

    def _lanes(self) -> Sequence[tuple[Lane, Place]]:
        return (
            (self._changes.objects, self._standing.objects),
            (self._changes.nodes, self._standing.nodes),
        )


class EdgeCourse:
    """Of a KubeEdge node: what concerns it from now on, one Message after the other.

    Args:
        changes: of the store.
        wanted: of which changes the node hears.
    """

    def __init__(self, changes: Changes, wanted: Callable[[DownChange], bool]) -> None:
        self._changes = changes
        self._wanted = wanted
        self.revision = changes.head

    @property
    def waiting(self) -> int:
        """See `Course`."""
        return self._changes.everything.count_after(self.revision)

    @property
    def is_behind(self) -> bool:
        """See `Course`."""
        return self.revision < self._changes.floor

    def next(self) -> Outgoing | None:
        """See `Course`."""
        for change in self._changes.everything.after(self.revision):
            self.revision = change.revision
            if self._wanted(change):
                return alone(change)
        self.revision = max(self.revision, self._changes.head)
        return None

    def passed(self, key: ObjectKey) -> DownChange | None:
        """See `Course`."""
        change = self._changes.get(key)
        # What lies ahead will come in its turn.
        return change if change is not None and change.revision <= self.revision else None

    def mark_again(self) -> None:
        """See `Course`; there are no marks."""


def alone(change: DownChange) -> Outgoing:
    """A frame of one Message."""
    return Outgoing(change.msg_id, change.text, (change.key,))
