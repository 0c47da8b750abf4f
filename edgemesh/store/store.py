"""The store: the gateway between trio and the database."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import trio
from sqlalchemy import Connection

from edgemesh.model.objects import Change, KubeObject, ObjectKey
from edgemesh.model.settings import MetaSettings
from edgemesh.model.sync import SyncPosition
from edgemesh.store import queries, sync
from edgemesh.store.engine import READERS, Engines, open_engines
from edgemesh.store.errors import StoreError, database_errors
from edgemesh.store.notices import Listener, is_shared
from edgemesh.store.queries import Page
from edgemesh.store.rows import Scope
from edgemesh.store.transaction import REVISION_NOTICE, Transaction
from edgemesh.wire.labelselector import Selector

Result = TypeVar("Result")


class Store:
    """Kubernetes objects on disk; made by ``Store.open``.

    Every write is a transaction in the one writer thread; when the call returns it is on disk.
    Reads run beside it and see committed states only. Nothing here is cached: the data plane
    reads a snapshot, and this is for durability.

    Attributes:
        uid: tells this store from every other.
        revision: the last one that is known of.

    Ownership: who opens a store closes it. Cancellation: a write that has begun is finished
    first, so a caller that is cancelled cannot leave a commit unannounced.
    """

    def __init__(self, engines: Engines, uid: str, revision: int, history: int) -> None:
        self._engines = engines
        self.uid = uid
        self._history = history
        self._writer = trio.CapacityLimiter(1)
        self._readers = trio.CapacityLimiter(READERS)
        self._waiting = trio.lowlevel.ParkingLot()
        self._hear: list[Callable[[str], None]] = []
        self._looking = trio.Event()
        self.revision = revision

    @classmethod
    async def open(cls, url: str, settings: MetaSettings | None = None) -> Store:
        """Open the database at a SQLAlchemy URL and bring its tables up to date.

        A damaged SQLite file is moved aside and a new one started; ``quarantined`` tells.

        Args:
            url: ``sqlite:////path/to/file`` or any other that SQLAlchemy knows.
            settings: ``history`` counts here; None means the defaults.

        Raises:
            StoreError: it cannot be opened.
        """
        engines = await trio.to_thread.run_sync(open_engines, url)

        def head() -> tuple[str, int]:
            with engines.reader.connect() as connection:
                return queries.store_uid(connection), queries.last_revision(connection)

        history = (settings or MetaSettings()).history
        uid, revision = await trio.to_thread.run_sync(head)
        return cls(engines, uid, revision, history)

    @property
    def quarantined(self) -> Path | None:
        """Where a damaged file was moved to when this store was opened, None if none was."""
        return self._engines.quarantined

    async def transact(self, work: Callable[[Transaction], Result]) -> tuple[Result, list[Change]]:
        """Run a function in the writer thread, as one transaction.

        Returns:
            What the function returned, and the changes that are now on disk.

        Raises:
            StoreError: the database refused; nothing was changed. What the function raises
                undoes the transaction too.
        """

        def run() -> tuple[Result, Transaction]:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            with database_errors("write"), self._engines.writer.begin() as connection:
                transaction = Transaction(connection, now, self._history)
                result = work(transaction)
                transaction.finish()
                return result, transaction

        result, transaction = await trio.to_thread.run_sync(run, limiter=self._writer)
        self._advance(transaction.revision)
        return result, transaction.changes

    @property
    def is_shared(self) -> bool:
        """Whether other processes write to the same database; then ``follow`` has to run."""
        return is_shared(self._engines.reader)

    def on_notice(self, use: Callable[[str], None]) -> None:
        """Call ``use`` with what others tell, and with "" when it is time to look; see follow."""
        self._hear.append(use)

    async def follow(
        self,
        seconds: float,
        warn: Callable[[str], None],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Hear of what other processes write, until cancelled.

        Args:
            seconds: between two looks when nothing is heard.
            warn: is told why the database cannot be heard or read for now.
            task_status: started once it listens.
        """

        def hear(notice: str) -> None:
            if not notice or notice.startswith(REVISION_NOTICE):
                self._looking.set()
            for use in self._hear:
                use(notice)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look, warn)
            await nursery.start(Listener(self._engines.reader, seconds, warn).run, hear)
            task_status.started()

    async def write_rows(self, work: Callable[[Connection], Result]) -> Result:
        """Change tables that are not about objects: a transaction in the writer thread.

        For other modules of this room.

        Raises:
            StoreError: the database refused; nothing was changed.
        """

        def run() -> Result:
            with database_errors("write"), self._engines.writer.begin() as connection:
                return work(connection)

        return await trio.to_thread.run_sync(run, limiter=self._writer)

    async def read_rows(self, query: Callable[[Connection], Result]) -> Result:
        """Read tables that are not about objects; for other modules of this room.

        Raises:
            StoreError: the database cannot be read.
        """
        return await self._read(query)

    async def get(self, key: ObjectKey) -> KubeObject | None:
        """The object of this name, None when there is none."""
        return await self._read(lambda connection: queries.find_object(connection, key))

    async def read(self, scope: Scope, selector: Selector = ()) -> list[KubeObject]:
        """Objects of a scope whose labels satisfy a selector, by kind, namespace and name."""
        return await self._read(
            lambda connection: queries.list_objects(connection, scope, selector)
        )

    async def changes(self, since: int, scope: Scope, budget_bytes: int) -> Page:
        """What became of a scope after a revision; from 0, all that there is.

        Args:
            since: the last revision that the caller has seen.
            scope: which objects.
            budget_bytes: bodies that are read at once, roughly.
        """
        return await self._read(
            lambda connection: queries.list_changes(connection, since, scope, budget_bytes)
        )

    async def sync_position(self) -> SyncPosition:
        """How far this node has followed its cloud."""
        return await self._read(sync.read_position)

    async def wait_beyond(self, revision: int) -> None:
        """Wait until something has changed after a revision."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.revision <= revision:
            await self._waiting.park()

    async def close(self) -> None:
        """Close all connections."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._engines.dispose)

    async def _look(self, warn: Callable[[str], None]) -> None:
        """Learn the revision whenever somebody says that there is another one."""
        while True:
            await self._looking.wait()
            self._looking = trio.Event()
            try:
                self._advance(await self._read(queries.last_revision))
            except StoreError as error:
                warn(error.problem)

    def _advance(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        self._waiting.unpark(count=math.inf)

    async def _read(self, query: Callable[[Connection], Result]) -> Result:
        def run() -> Result:
            with database_errors("read"), self._engines.reader.connect() as connection:
                return query(connection)

        return await trio.to_thread.run_sync(run, limiter=self._readers)
