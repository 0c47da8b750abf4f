"""Following the store: a cursor that first lists and then waits for changes.

There is no queue between who writes and who watches. A cursor knows the revision that it has
come to and asks the store what became of its objects since; a slow watcher so costs one page
of memory, and many changes of one object in the meantime are one.
"""

from __future__ import annotations

from typing import NamedTuple

from edgemesh.model.objects import Change, ChangeType
from edgemesh.store.rows import Scope
from edgemesh.store.store import Store


class Batch(NamedTuple):
    """Some changes, in the order of their revisions.

    Args:
        changes: of each object the last one.
        reset: forget everything first: a list begins.
        synced: nothing further had happened; after a reset, the list is complete.
        revision: the store's revision that the watcher has come to.
    """

    changes: list[Change]
    reset: bool
    synced: bool
    revision: int


class ChangeCursor:
    """Follows the objects of a scope; for one task.

    Args:
        store: what is followed.
        scope: which objects.
        page_bytes: objects that are read at once, roughly.
        since: the revision that the watcher has come to already, 0 for a list first.
    """

    def __init__(self, store: Store, scope: Scope, page_bytes: int, since: int = 0) -> None:
        self._store = store
        self._scope = scope
        self._page_bytes = page_bytes
        self._position = since
        self._listed_from = 0
        self._begun = since > 0
        self._listing = since == 0
        self._synced = False

    @property
    def position(self) -> int:
        """The revision that the watcher has come to."""
        return self._position

    @property
    def lag(self) -> int:
        """How many changes of the whole store lie between the last batch and now."""
        return self._store.revision - max(self._position, self._listed_from)

    async def wait(self) -> None:
        """Wait until ``next`` has something to return."""
        if self._synced:
            await self._store.wait_beyond(self._position)

    async def next(self) -> Batch:
        """Read what has happened; the first call begins the list.

        Nothing is lost: where deletions have been forgotten meanwhile, the list begins again.

        Raises:
            StoreError: the database cannot be read; the call may be repeated.
        """
        head = self._store.revision
        if self._position == 0:
            self._listed_from = head
        page = await self._store.changes(self._position, self._scope, self._page_bytes)
        if self._position and page.floor > max(self._position, self._listed_from):
            self._restart()
            return await self.next()
        changes = [change for change in map(self._listed, page.changes) if change]
        reset, self._begun = not self._begun, True
        if page.changes:
            self._position = page.changes[-1].object.resource_version
        if page.complete:
            # Whatever else happened up to the head was not in this scope.
            self._position = max(self._position, head)
            self._listing = False
        self._synced = page.complete
        return Batch(changes, reset, page.complete, self._position)

    def _restart(self) -> None:
        self._position = 0
        self._listed_from = 0
        self._begun = False
        self._listing = True
        self._synced = False

    def _listed(self, change: Change) -> Change | None:
        """A change as a list shows it: objects that are there, none that left before it."""
        if not self._listing:
            return change
        if change.type is not ChangeType.DELETE:
            return Change(ChangeType.INSERT, change.object)
        return change if change.object.resource_version > self._listed_from else None
