"""What nodes are sent: the store's objects, followed by one reader and encoded once for all.

Theory of operation: of each object the last change is kept as the text of a Message, in the
order of revisions. A session is a position in that order. So a node that is new, one that comes
back and one that lags behind differ in their position only, and none of them costs a read of the
database; many changes of one object that a node has not seen yet are one. Deletions are kept as
long as the store keeps them; whoever stands before ``floor`` needs everything anew.

Edgemesh nodes hear of Nodes in a lane of its own, in batches: what happens to Services and
policies does not wait behind a thousand nodes that tell each other where they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import trio

from edgemesh.bus.cloudhub.down_change import DownChange, NodeNews, encode_change
from edgemesh.bus.cloudhub.gatherer import Gatherer, Pace
from edgemesh.bus.cloudhub.lane import Lane
from edgemesh.bus.cloudhub.mesh_kinds import is_of_mesh
from edgemesh.model.bus_settings import CloudSettings
from edgemesh.model.objects import Change, ChangeType, ObjectKey
from edgemesh.model.settings import MetaSettings
from edgemesh.observe.log import get_logger
from edgemesh.store.errors import StoreError
from edgemesh.store.rows import Scope
from edgemesh.store.store import Store
from edgemesh.store.watch import Batch, ChangeCursor

_log = get_logger("cloudhub")


class News(Protocol):
    """Is told that there is more."""

    def __call__(self, *, mesh: bool) -> None:
        """Take note; at once.

        Args:
            mesh: whether there is anything for edgemesh nodes; if not, for KubeEdge's only.
        """


class Changes:
    """The last change of every object that nodes may be sent.

    Args:
        store: what is followed.
        kinds: of objects; others are passed over.
        settings: how much is read at once, and for how long deletions are kept.
        cloud: how long changes of Nodes are gathered.
        are_behind: whether many edgemesh nodes have not yet taken in what they were told.

    Attributes:
        everything: whole objects, for KubeEdge's nodes, each as soon as it is known.
        objects: for edgemesh nodes, what they go by except Nodes.
        nodes: for edgemesh nodes, what they have to know of each other.
        floor: deletions up to it may be forgotten.
        listed: false while a list is under way: not everything is here that there is.
    """

    def __init__(
        self,
        store: Store,
        kinds: frozenset[str],
        settings: MetaSettings,
        cloud: CloudSettings,
        are_behind: Callable[[], bool],
    ) -> None:
        self._store = store
        self._kinds = kinds
        self._settings = settings
        self.everything = Lane()
        self.objects = Lane()
        self.nodes = Lane()
        self._node_news = NodeNews()
        pace = Pace(
            cloud.node_news_quiet_seconds, cloud.node_news_seconds, cloud.node_news_most_seconds
        )
        self._gatherer = Gatherer(self.nodes, pace, are_behind, self._tell_mesh)
        self._users: list[News] = []
        self._told_mesh = 0
        self._advanced = trio.Event()
        self.floor = 0
        self.listed = False

    @property
    def head(self) -> int:
        """The store's revision that this has come to."""
        return self.everything.revision

    @property
    def store_uid(self) -> str:
        """Which store the revisions are of."""
        return self._store.uid

    @property
    def mark_every(self) -> int:
        """After how many revisions a node is told where it stands, whatever they were about.

        One that knows nothing newer than ``floor`` when it comes back needs everything anew.
        """
        return self._settings.history // 4

    def on_news(self, use: News) -> None:
        """Call ``use`` whenever there is more."""
        self._users.append(use)

    def get(self, key: ObjectKey) -> DownChange | None:
        """The last change of an object, None when it is not known."""
        return self.everything.get(key)

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

    def pods_on(self, node: str) -> list[DownChange]:
        """The Pods that are bound to a node, and those that were until lately."""
        return [change for change in self.everything.values() if change.node == node]

    def present(self) -> dict[ObjectKey, DownChange]:
        """All objects that there are now."""
        return {change.key: change for change in self.everything.values() if not change.deleted}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the store until cancelled; started once everything that is stored is known."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._gatherer.run)
            await self._follow(task_status)

    async def _follow(self, task_status: trio.TaskStatus[None]) -> None:
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
            self._take_batch(batch)
            if self.listed and not started:
                started = True
                task_status.started()

    def _take_batch(self, batch: Batch) -> None:
        if batch.reset and self.listed:
            self._begin_anew()
        before = self.objects.count
        for change in batch.changes:
            self._take(change)
        if batch.synced and not self.listed:
            self.listed = True
            # A list is given whole, or Nodes that wait would be taken for deleted ones.
            self._gatherer.release()
        self._advance(batch.revision)
        self._advanced.set()
        self._advanced = trio.Event()
        if self.objects.count != before or self.head > self._told_mesh + self.mark_every:
            self._tell_mesh()
        else:
            self._tell(mesh=False)

    def _begin_anew(self) -> None:
        """Deletions have been forgotten while the store could not be read."""
        self._gatherer.release()
        for lane in (self.everything, self.objects, self.nodes):
            lane.clear()
        self._node_news.forget()
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
        known = self.everything.get(key)
        if known is not None and known.revision >= change.object.resource_version:
            return
        whole = encode_change(change)
        self.everything.put(whole)
        if key.kind == "Node":
            news = self._node_news.take(change)
            if news is not None:
                self._gatherer.hold(news)
        elif is_of_mesh(key):
            self.objects.put(whole)

    def _advance(self, revision: int) -> None:
        for each in (self.everything, self.objects, self._gatherer):
            each.come_to(revision)
        self.floor = max(self.floor, self.head - self._settings.history)
        for lane in (self.everything, self.objects, self.nodes):
            lane.forget(self.floor, self._settings.history)

    def _tell_mesh(self) -> None:
        self._told_mesh = self.head
        self._tell(mesh=True)

    def _tell(self, *, mesh: bool) -> None:
        for use in self._users:
            use(mesh=mesh)
