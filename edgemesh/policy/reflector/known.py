"""What is known of a resource's objects: which there are, and in which version.

An API server tells everything once and in order. MetaServer repeats: a watch begins with an ADDED
for every row that it keeps, in any order, old versions and objects that were deleted long ago among
them (captures, table). So what it tells is held against the revision of the list that came before,
and against what is known. Revisions are compared as numbers; those that are none cannot be, and
what has such a one is news.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from edgemesh.model.reflection import Change, Name

_MOST_DIGITS = 20


class _Version(NamedTuple):
    uid: str
    revision: str


class Known:
    """The objects of one resource.

    Args:
        selects: whether an object is among those that are followed; servers send others, too.

    Between `begin_list` and `finish_list` what is shown counts as listed; what has happened in
    between (a streamed list) counts, too.
    """

    def __init__(self, selects: Callable[[Mapping[str, Any]], bool]) -> None:
        self._selects = selects
        self._versions: dict[Name, _Version] = {}
        self._listed: set[Name] | None = None
        # Of the last list, and of what was deleted since: nothing older is news.
        self._floor = -1
        self._deleted: dict[Name, int] = {}
        self._complete = False

    def __len__(self) -> int:
        """How many objects there are."""
        return len(self._versions)

    def begin_list(self) -> None:
        """Expect everything to be shown; what an earlier list began is void."""
        self._listed = set()

    def show(self, body: Mapping[str, Any]) -> Change | None:
        """Take an object of a list; return the change to hand on, if it is one."""
        assert self._listed is not None
        return self._put(body) if self._selects(body) else None

    def finish_list(self, revision: str) -> Collection[Name] | None:
        """Everything was shown.

        Args:
            revision: that the list shows.

        Returns:
            the names of all there are, when others may have to go; None when none have.
        """
        listed = self._listed
        assert listed is not None
        self._listed = None
        had_all, self._complete = self._complete, True
        self._floor = _number(revision)
        self._deleted.clear()
        if had_all and len(listed) == len(self._versions):
            return None
        self._versions = {name: self._versions[name] for name in listed}
        return listed

    def happen(
        self, body: Mapping[str, Any], *, deleted: bool, in_order: bool = True
    ) -> Change | None:
        """Take an event; return the change to hand on, if it is one.

        Args:
            body: the object after it, or at last.
            deleted: whether it is gone.
            in_order: whether the server tells everything once and in order.
        """
        deleted = deleted or not self._selects(body)
        if not in_order and self._is_stale(body, deleted=deleted):
            return None
        if not deleted:
            return self._put(body)
        if not in_order:
            self._deleted[name_of(body)] = _number(_version_of(body).revision)
        return self._delete(body)

    def _put(self, body: Mapping[str, Any]) -> Change | None:
        name, version = name_of(body), _version_of(body)
        if self._listed is not None:
            self._listed.add(name)
        if self._versions.get(name) == version:
            return None
        self._versions[name] = version
        return Change(deleted=False, body=body)

    def _delete(self, body: Mapping[str, Any]) -> Change | None:
        name = name_of(body)
        if self._listed is not None:
            self._listed.discard(name)
        if self._versions.pop(name, None) is None:
            return None
        return Change(deleted=True, body=body)

    def _is_stale(self, body: Mapping[str, Any], *, deleted: bool) -> bool:
        name, version = name_of(body), _version_of(body)
        number, known = _number(version.revision), self._versions.get(name)
        if number >= 0 and known is not None:
            return number < _number(known.revision)
        if number >= 0:
            return number <= max(self._floor, self._deleted.get(name, -1))
        # KubeEdge tells of some deletions by name and uid alone (captures, point 18).
        return deleted and known is not None and version.uid not in {"", known.uid}


def name_of(body: Mapping[str, Any]) -> Name:
    """The name of an object; it was checked when it was read."""
    metadata = body["metadata"]
    return Name(metadata.get("namespace", ""), metadata["name"])


def _version_of(body: Mapping[str, Any]) -> _Version:
    metadata = body["metadata"]
    return _Version(metadata.get("uid", ""), metadata.get("resourceVersion", ""))


def _number(revision: str) -> int:
    """A revision as a number, -1 where it is none; etcd's have 64 bits."""
    is_number = revision.isascii() and revision.isdecimal() and len(revision) <= _MOST_DIGITS
    return int(revision) if is_number else -1
