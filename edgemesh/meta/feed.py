"""The whole store, followed by a part of the agent itself."""

from __future__ import annotations

import trio

from edgemesh.observe.log import get_logger
from edgemesh.store.errors import StoreError
from edgemesh.store.watch import Batch, ChangeCursor

_log = get_logger("metamanager")


class ChangeFeed:
    """Everything in the store, then every change: ``async for batch in feed``.

    A database that cannot be read for a while delays it and loses nothing.

    Args:
        cursor: what is followed.
        retry_seconds: how long to wait after a failed read.
    """

    def __init__(self, cursor: ChangeCursor, retry_seconds: float) -> None:
        self._cursor = cursor
        self._retry_seconds = retry_seconds
        self._synced = False

    def __aiter__(self) -> ChangeFeed:
        """The feed itself."""
        return self

    async def __anext__(self) -> Batch:
        """Wait for something new; many changes at once come as few batches."""
        while True:
            await self._cursor.wait()
            try:
                batch = await self._cursor.next()
            except StoreError as error:
                _log.warning("store cannot be read", problem=error.problem)
                await trio.sleep(self._retry_seconds)
                continue
            news = batch.changes or batch.reset or batch.synced != self._synced
            self._synced = batch.synced
            if news:
                return batch
