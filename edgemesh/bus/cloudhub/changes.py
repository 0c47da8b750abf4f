"""What nodes are sent: the store's objects, followed by one reader and encoded once for all.

Theory of operation: of each object the last change is kept as the text of a Message, in the
order of revisions. A session is a position in that order. So a node that is new, one that comes
back and one that lags behind differ in their position only, and none of them costs a read of the
database; many changes of one object that a node has not seen yet are one. Deletions are kept as
long as the store keeps them; whoever stands before ``floor`` needs everything anew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

import trio

from edgemesh.bus.stamp import new_stamp
from edgemesh.model.objects import Change, ChangeType, KubeObject, ObjectKey
from edgemesh.model.settings import MetaSettings
from edgemesh.observe.log import get_logger
from edgemesh.store.errors import StoreError
from edgemesh.store.rows import Scope
from edgemesh.store.store import Store
from edgemesh.store.watch import ChangeCursor
from edgemesh.wire.kubeedge.answers import push
from edgemesh.wire.message import NO_NAMESPACE, Operation, ResourcePath, encode_message

_log = get_logger("cloudhub")
_revision_of = attrgetter("revision")


class DownChange(NamedTuple):
    """The last change of one object.

    Args:
        revision: of the store.
        key: the object.
        deleted: whether it is gone.
        node: the node that a Pod runs on, "" for everything else.
        msg_id: of the Message.
        text: the Message.
    """

    revision: int
    key: ObjectKey
    deleted: bool
    node: str
    msg_id: str
    text: str


class Changes:
    """The last change of every object that nodes may be sent.

    Args:
        store: what is followed.
        kinds: of objects; others are passed over.
        settings: how much is read at once, and for how long deletions are kept.

    Attributes:
        head: the store's revision that this has come to.
        floor: deletions up to it may be forgotten.
        listed: false while a list is under way: not everything is here that there is.
    """

    def __init__(self, store: Store, kinds: frozenset[str], settings: MetaSettings) -> None:
        self._store = store
        self._kinds = kinds
        self._settings = settings
        self._last: dict[ObjectKey, DownChange] = {}
        self._log: list[DownChange] = []
        self._users: list[Callable[[], None]] = []
        self._advanced = trio.Event()
        self.head = 0
        self.floor = 0
        self.listed = False

    @property
    def store_uid(self) -> str:
        """Which store the revisions are of."""
        return self._store.uid

    def on_news(self, use: Callable[[], None]) -> None:
        """Call ``use`` whenever there is more."""
        self._users.append(use)

    def get(self, key: ObjectKey) -> DownChange | None:
        """The last change of an object, None when it is not known."""
        return self._last.get(key)

    async def reached(self, revision: int, seconds: float) -> None:
        """Wait until this has come to a revision, but not for long.

        Another replica may have told a node of what this one is about to hear of.
        """
        with trio.move_on_after(seconds):
            while self.head < revision:
                await self._advanced.wait()

    async def caught_up(self) -> None:
        """Wait until everything is here that was written by now, but not for long."""
        await self.reached(self._store.revision, self._settings.conditions_wait_seconds)

    def next_after(self, position: int, wanted: Callable[[DownChange], bool]) -> DownChange | None:
        """The first change behind a position that is wanted, None when there is none yet."""
        for index in range(bisect_right(self._log, position, key=_revision_of), len(self._log)):
            change = self._log[index]
            if self._last.get(change.key) is change and wanted(change):
                return change
        return None

    def count_after(self, position: int) -> int:
        """About how many changes lie behind a position."""
        return len(self._log) - bisect_right(self._log, position, key=_revision_of)

    def pods_on(self, node: str) -> list[DownChange]:
        """The Pods that are bound to a node, and those that were until lately."""
        return [change for change in self._last.values() if change.node == node]

    def present(self) -> dict[ObjectKey, DownChange]:
        """All objects that there are now."""
        return {key: change for key, change in self._last.items() if not change.deleted}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the store until cancelled; started once everything that is stored is known."""
        cursor = ChangeCursor(self._store, Scope(), self._settings.page_bytes)
        knows_deleted = started = False
        while True:
            await cursor.wait()
            try:
                if not knows_deleted:
                    await self._take_deleted()
                    knows_deleted = True
                batch = await cursor.next()
            except StoreError as error:
                _log.warning("store cannot be read", problem=error.problem)
                await trio.sleep(self._settings.read_retry_seconds)
                continue
            if batch.reset and self.listed:
                self._begin_anew()
            for change in batch.changes:
                self._take(change)
            self.listed = self.listed or batch.synced
            self._advance(batch.revision)
            if self.listed and not started:
                started = True
                task_status.started()

    def _begin_anew(self) -> None:
        """Deletions have been forgotten while the store could not be read."""
        self._last.clear()
        self._log.clear()
        self.floor = self._store.revision
        self.listed = False

    async def _take_deleted(self) -> None:
        """Learn of what was deleted before this began, for nodes that come back."""
        page = await self._store.changes(0, Scope(), 1)
        # Nothing can be deleted at revision 1, and 0 would mean a list.
        position = max(page.floor, 1)
        complete = False
        while not complete:
            page = await self._store.changes(position, Scope(), self._settings.page_bytes)
            for change in page.changes:
                position = change.object.resource_version
                if change.type is ChangeType.DELETE:
                    self._take(change)
            complete = page.complete
        self.floor = page.floor

    def _take(self, change: Change) -> None:
        key = change.object.key
        if key.kind not in self._kinds:
            return
        known = self._last.get(key)
        if known is not None and known.revision >= change.object.resource_version:
            return
        taken = _encoded(change)
        self._last[key] = taken
        if self._log and self._log[-1].revision > taken.revision:
            # Once only: the first list comes after what was deleted before it.
            self._log.insert(bisect_right(self._log, taken.revision, key=_revision_of), taken)
        else:
            self._log.append(taken)

    def _advance(self, revision: int) -> None:
        self.head = max(self.head, revision)
        self.floor = max(self.floor, self.head - self._settings.history)
        if len(self._log) > 2 * len(self._last) + self._settings.history:
            self._compact()
        self._advanced.set()
        self._advanced = trio.Event()
        for use in self._users:
            use()

    def _compact(self) -> None:
        """Let go of changes that later ones of the same object have made void."""
        self._last = {
            key: change
            for key, change in self._last.items()
            if not change.deleted or change.revision > self.floor
        }
        self._log = [change for change in self._log if self._last.get(change.key) is change]


def _encoded(change: Change) -> DownChange:
    one = change.object
    deleted = change.type is ChangeType.DELETE
    message = push(
        new_stamp(),
        _operation(change),
        resource_of(one.key),
        _sendable(one.body),
        revision=str(one.resource_version),
    )
    return DownChange(
        one.resource_version,
        one.key,
        deleted,
        _node_of(one),
        message.header.msg_id,
        encode_message(message).decode(),
    )


def _operation(change: Change) -> Operation:
    # CloudCore tells of a Node by update alone, of a new one too (captures, point 16).
    if change.object.key.kind == "Node" and change.type is ChangeType.INSERT:
        return Operation.UPDATE
    return Operation(change.type.value)


def resource_of(key: ObjectKey) -> ResourcePath:
    """How a Message calls an object: ``default/service/web``, ``null/node/edge-1``."""
    return ResourcePath(key.namespace or NO_NAMESPACE, key.kind.lower(), key.name)


def _sendable(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without what only writers of the object care for; it is a third of a Pod."""
    if "managedFields" not in body["metadata"]:
        return body
    metadata = {k: v for k, v in body["metadata"].items() if k != "managedFields"}
    return {**body, "metadata": metadata}


def _node_of(one: KubeObject) -> str:
    if one.key.kind != "Pod":
        return ""
    node = (one.body.get("spec") or {}).get("nodeName")
    return node if isinstance(node, str) else ""
