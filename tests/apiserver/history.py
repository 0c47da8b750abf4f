"""What the server stores, and how it came to be: etcd and the watch cache in one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import trio

from apiserver.resources import Body, Key, ResourceType

Place = tuple[str, str]
"""Group and plural: all versions of a type are one set of objects."""


class TooOldError(Exception):
    """What was asked about lies before all that is remembered."""


class Written(NamedTuple):
    """One write; a body is never changed after it was written."""

    revision: int
    key: Key
    before: Body | None
    after: Body | None


@dataclass(eq=False)
class _Shelf:
    objects: dict[Key, Body] = field(default_factory=dict)
    log: list[Written] = field(default_factory=list)
    floor: int = 0
    dropped: int = 0


@dataclass(eq=False)
class History:
    """All objects with the writes that led to them.

    Attributes:
        revision: of the newest write, of any type.
        window: writes of each type that are remembered.
        written: set by the next write, of any type; then there is another one.
    """

    revision: int = 0
    window: int = 100_000
    _shelves: defaultdict[Place, _Shelf] = field(default_factory=lambda: defaultdict(_Shelf))
    written: trio.Event = field(default_factory=trio.Event)

    def objects(self, type_: ResourceType) -> Mapping[Key, Body]:
        """What there is now."""
        return self._shelf(type_).objects

    def floor(self, type_: ResourceType) -> int:
        """The oldest revision that a watch can start from."""
        return self._shelf(type_).floor

    def write(self, type_: ResourceType, key: Key, after: Body | None) -> Body:
        """Store an object, or delete it (None).

        Returns:
            What was stored, or the deleted object with the revision of its deletion.
        """
        self.revision += 1
        shelf = self._shelf(type_)
        before = shelf.objects.get(key)
        told = _stamped(before if after is None else after, self.revision)
        self._note(shelf, Written(self.revision, key, before, None if after is None else told))
        return told

    def restore(self, type_: ResourceType, key: Key, body: Body) -> None:
        """Store an object as it was recorded, with its own resourceVersion."""
        revision = int(body["metadata"]["resourceVersion"])
        self.revision = max(self.revision, revision)
        shelf = self._shelf(type_)
        self._note(shelf, Written(revision, key, shelf.objects.get(key), body))

    def _note(self, shelf: _Shelf, written: Written) -> None:
        if written.after is None:
            del shelf.objects[written.key]
        else:
            shelf.objects[written.key] = written.after
        shelf.log.append(written)
        if len(shelf.log) > 2 * self.window:
            shelf.floor = shelf.dropped = shelf.log[-self.window - 1].revision
            del shelf.log[: -self.window]
        self.written.set()
        self.written = trio.Event()

    def check(self, type_: ResourceType, revision: int) -> None:
        """Whether something can still begin at a revision.

        Raises:
            TooOldError: it cannot.
        """
        if revision < self._shelf(type_).floor:
            raise TooOldError

    def stirred(self, type_: ResourceType) -> bool:
        """Whether anything of a type was written after the past was forgotten."""
        shelf = self._shelf(type_)
        return bool(shelf.log) and shelf.log[-1].revision > shelf.floor

    def since(self, type_: ResourceType, revision: int) -> list[Written]:
        """All writes after a revision, in order.

        Raises:
            TooOldError: some of them are dropped.
        """
        shelf = self._shelf(type_)
        if revision < shelf.dropped:
            raise TooOldError
        start = len(shelf.log)
        while start and shelf.log[start - 1].revision > revision:
            start -= 1
        return shelf.log[start:]

    def at(self, type_: ResourceType, revision: int) -> Mapping[Key, Body]:
        """The objects as they were.

        Raises:
            TooOldError: that is forgotten.
        """
        self.check(type_, revision)
        objects = dict(self.objects(type_))
        for written in reversed(self.since(type_, revision)):
            if written.before is None:
                del objects[written.key]
            else:
                objects[written.key] = written.before
        return objects

    def forget(self) -> None:
        """Compact: nothing can begin before now any more; what has begun goes on."""
        for shelf in self._shelves.values():
            shelf.floor = self.revision

    def _shelf(self, type_: ResourceType) -> _Shelf:
        return self._shelves[type_.group, type_.plural]


def _stamped(body: Body | None, revision: int) -> Body:
    if body is None:
        raise KeyError("there is no such object")
    return {**body, "metadata": {**body["metadata"], "resourceVersion": str(revision)}}
