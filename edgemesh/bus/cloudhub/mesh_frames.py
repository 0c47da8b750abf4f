"""Frames for edgemesh nodes: made once for all nodes that stand at the same place."""

from __future__ import annotations

from typing import Final, NamedTuple

from edgemesh.bus.cloudhub.changes import Changes
from edgemesh.bus.cloudhub.lane import Lane
from edgemesh.bus.stamp import new_stamp
from edgemesh.model.objects import ObjectKey
from edgemesh.policy.bus.outbox import Outgoing
from edgemesh.wire.kubeedge.answers import push
from edgemesh.wire.message import Operation, ResourcePath, encode_message, join_frames

SYNC: Final = ResourcePath("all", "sync")

# No more Messages are put into a frame that has as much.
_FRAME_CHARACTERS: Final = 65536
# Of what nodes are sent that begin anew at the same time, and of what all are sent.
_FRAMES_KEPT: Final = 64


class Place(NamedTuple):
    """How far a node has come in a lane.

    Args:
        revision: that it was told.
        listed_to: deletions up to it do not concern the node: it never had those objects.
    """

    revision: int
    listed_to: int


class Standing(NamedTuple):
    """What a node was told.

    Args:
        objects, nodes: of the lanes.
        marked: the revision of the last mark, -1 when one is due.
    """

    objects: Place
    nodes: Place
    marked: int

    @property
    def revision(self) -> int:
        """Up to which it was told everything."""
        return min(self.objects.revision, self.nodes.revision)


class Step(NamedTuple):
    """A frame, if there is one at present, and where it leads."""

    outgoing: Outgoing | None
    standing: Standing


class MeshFrames:
    """Makes frames, and keeps them while nothing has changed.

    Args:
        changes: of the store.
        most: Messages in a frame.
    """

    def __init__(self, changes: Changes, most: int) -> None:
        self._changes = changes
        self._most = most
        self._steps: dict[Standing, Step] = {}
        changes.on_news(self._forget)

    def next(self, standing: Standing) -> Step:
        """The frame that a node is sent next."""
        step = self._steps.get(standing)
        if step is None:
            if len(self._steps) >= _FRAMES_KEPT:
                self._steps.clear()
            step = self._steps[standing] = self._make(standing)
        return step

    def _forget(self, *, mesh: bool) -> None:
        # What else is new moves the places too, so marks may be due.
        del mesh
        self._steps.clear()

    def _make(self, standing: Standing) -> Step:
        frame = _Frame(self._most)
        objects = frame.fill(self._changes.objects, standing.objects)
        nodes = frame.fill(self._changes.nodes, standing.nodes)
        after = Standing(objects, nodes, -1 if frame.keys else standing.marked)
        is_due = after.marked < 0 or after.revision > after.marked + self._changes.mark_every
        if is_due and not frame.cut:
            frame.mark(after.revision)
            after = after._replace(marked=after.revision)
        return Step(frame.outgoing(), after)


class _Frame:
    """Is filled until it has enough.

    Attributes:
        keys: the objects in it.
        cut: whether there was more than it takes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._texts: list[str] = []
        self._characters = 0
        self._last_id = ""
        self.keys: list[ObjectKey] = []
        self.cut = False

    def fill(self, lane: Lane, place: Place) -> Place:
        """Put in what a lane has; return how far that is."""
        revision = place.revision
        for change in lane.after(revision):
            if change.deleted and change.revision <= place.listed_to:
                continue
            if self._characters >= _FRAME_CHARACTERS or len(self.keys) >= self._most:
                self.cut = True
                return place._replace(revision=revision)
            self._put(change.msg_id, change.text)
            self.keys.append(change.key)
            revision = change.revision
        return place._replace(revision=max(revision, lane.revision))

    def mark(self, revision: int) -> None:
        """Say that this was all."""
        content = {"revision": revision, "synced": True}
        message = push(new_stamp(), Operation.UPDATE, SYNC, content)
        self._put(message.header.msg_id, encode_message(message).decode())

    def outgoing(self) -> Outgoing | None:
        """The frame, None when nothing is in it."""
        if not self._texts:
            return None
        return Outgoing(self._last_id, join_frames(self._texts), tuple(self.keys))

    def _put(self, msg_id: str, text: str) -> None:
        self._texts.append(text)
        self._characters += len(text)
        self._last_id = msg_id
