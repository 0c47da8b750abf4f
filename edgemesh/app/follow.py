"""Follow the store: every change becomes a snapshot, and every snapshot reaches its users."""

from __future__ import annotations

import gc
from collections.abc import Callable

import trio

from edgemesh.meta.feed import ChangeFeed
from edgemesh.meta.snapshot import SnapshotBuilder
from edgemesh.model.conditions import Condition
from edgemesh.model.objects import Change, ChangeType, ObjectKey
from edgemesh.model.paths import NOT_LOOKED_AT
from edgemesh.model.services import Snapshot, Source
from edgemesh.model.settings import Settings
from edgemesh.observe.log import get_logger

_log = get_logger("follow")


class Follower:
    """Turns changes into snapshots.

    Attributes:
        available: paths that work on this node, for the conditions of who asks for one.
    """

    def __init__(self, settings: Settings) -> None:
        """Know nothing yet; see `run`."""
        self._settings = settings
        self.available = NOT_LOOKED_AT
        self._users: list[Callable[[Snapshot], None]] = []
        self._builder = self._new_builder()
        self._known: set[ObjectKey] = set()
        self._told: dict[ObjectKey, str] = {}
        self._revision = 0
        self._advanced = trio.Event()

    def on_snapshot(self, use: Callable[[Snapshot], None]) -> None:
        """Call ``use`` with every snapshot from now on, in the order of these calls."""
        self._users.append(use)

    @property
    def objects(self) -> int:
        """How many objects are stored."""
        return len(self._known)

    @property
    def has_subsets(self) -> bool:
        """Whether any Service has subsets: then labels of Pods matter."""
        return self._builder.has_subsets

    @property
    def problems(self) -> dict[ObjectKey, str]:
        """Objects that cannot be served as they are, and why."""
        return dict(self._builder.problems)

    async def reached(self, revision: int) -> None:
        """Wait until what was stored at this revision has become a snapshot, but not for long."""
        with trio.move_on_after(self._settings.meta.conditions_wait_seconds):
            while self._revision < revision:
                await self._advanced.wait()

    def conditions(self, key: ObjectKey) -> tuple[Condition, ...]:
        """How a policy object stands; empty when it is not known."""
        return self._builder.conditions(key, self.available)

    async def run(
        self, feed: ChangeFeed, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Follow until cancelled; started when everything that is stored has been handed on."""
        first = True
        async for batch in feed:
            if batch.reset:
                self._builder = self._new_builder()
                self._known.clear()
            self._take(batch.changes)
            if not batch.synced:
                continue
            snapshot = self._builder.build(batch.revision)
            for use in self._users:
                use(snapshot)
            self._tell_problems()
            self._advance(batch.revision)
            if first:
                # What was built now lives as long as the agent: looking through it at every
                # full collection would stall the reactor for nothing.
                gc.collect()
                gc.freeze()
                first = False
                task_status.started()

    def _take(self, changes: list[Change]) -> None:
        for change in changes:
            if change.type is ChangeType.DELETE:
                self._known.discard(change.object.key)
            else:
                self._known.add(change.object.key)
        self._builder.apply(changes)

    def _advance(self, revision: int) -> None:
        self._revision = revision
        self._advanced.set()
        self._advanced = trio.Event()

    def _new_builder(self) -> SnapshotBuilder:
        settings = self._settings
        # Only tproxy brings answers to a client's own address back to the agent.
        inbound = Source.NODE if settings.netfilter.mode == "redirect" else Source.PRESERVE
        return SnapshotBuilder(
            settings.node,
            Source(settings.proxy.source),
            inbound,
            reaches_cloud=bool(settings.bus.cloud) and settings.bus.links != "off",
            intercepts=settings.proxy.intercept_default == "enabled",
        )

    def _tell_problems(self) -> None:
        problems = self._builder.problems
        for key, problem in problems.items():
            if self._told.get(key) != problem:
                _log.warning("object is not served as it is", object=str(key), problem=problem)
        self._told = dict(problems)
