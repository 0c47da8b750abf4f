"""What agent and cloud have in common as processes: directories, store, signals."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import Settings
from edgemesh.observe.log import get_logger
from edgemesh.observe.sink import LineSink
from edgemesh.store.store import Store

_log = get_logger("agent")


def make_directories(settings: Settings) -> None:
    """Make the directories of state and run time, unless they are there.

    Raises:
        OperatorError: one cannot be made.
    """
    for path, mode in ((settings.state_dir, 0o700), (settings.run_dir, 0o750)):
        try:
            path.mkdir(mode=mode, parents=True, exist_ok=True)
        except OSError as error:
            raise OperatorError(f"directory {path}: {error.strerror}") from error


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """The store, open until the block is left.

    Raises:
        StoreError: it cannot be opened.
    """
    store = await Store.open(settings.store_url, settings.meta)
    try:
        if store.quarantined is not None:
            _log.error("the store was damaged; a new one is used", moved_to=str(store.quarantined))
        yield store
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(5):
            await store.close()


async def reopen_on_hangup(sink: LineSink) -> None:
    """SIGHUP: whoever rotates the log has moved its file."""
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            sink.reopen()


async def listen_for_the_end(
    asked: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Set ``asked`` at SIGTERM or SIGINT; a second one ends the process there and then.

    To be started first of all, but the end is waited for when all is started: of a process that
    is told to stop while it starts, nothing stays behind either.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            _log.info("asked to stop", signal=signal.Signals(number).name)
            asked.set()
            return
