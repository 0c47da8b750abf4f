"""The agent's side of its guard: see guard_process.py for what the guard does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from edgemesh.app import guard_process
from edgemesh.app.guard_process import FAREWELL, HEARTBEAT
from edgemesh.app.remains import encode_remains
from edgemesh.model.settings import Settings
from edgemesh.observe.log import get_logger

_HEARTBEAT_SECONDS = 1.0
# It has next to nothing to do between the farewell and its end.
_FAREWELL_SECONDS = 5.0

_log = get_logger("guard")


class Guard:
    """A guard to be started; made by `guarding`."""

    def __init__(self, settings: Settings, lock: int, nursery: trio.Nursery) -> None:
        """Prepare; see `start`."""
        self._settings = settings
        self._lock = lock
        self._nursery = nursery
        self._process: trio.Process | None = None

    @property
    def needed(self) -> bool:
        """Whether something must not outlive the agent; in fail mode closed everything may."""
        settings = self._settings
        return settings.netfilter.fail == "open" and (
            settings.netfilter.enabled or settings.dns.enabled
        )

    async def start(self) -> None:
        """Start the guard, and beat until the end of `guarding`.

        To be called before anything is installed, and after it is certain that nobody else's
        would be removed. A guard that ends is missed, not replaced: the agent goes on.
        """
        await self._nursery.start(self._run)

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        netfilter = self._settings.netfilter
        patience_seconds = netfilter.watchdog_seconds if netfilter.enabled else 0
        self._process = await trio.lowlevel.open_process(
            [
                sys.executable,
                # Neither site-packages nor what the environment says: it needs nothing of it.
                "-I",
                "-S",
                guard_process.__file__,
                str(os.getpid()),
                str(patience_seconds),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[self._lock],
            start_new_session=True,
        )
        pipe = self._process.stdin
        assert pipe is not None
        try:
            await pipe.send_all(encode_remains(self._settings))
            task_status.started()
            while True:
                # The reactor runs on this same loop: when it hangs, so does this.
                await pipe.send_all(HEARTBEAT)
                await trio.sleep(_HEARTBEAT_SECONDS)
        except trio.BrokenResourceError:
            _log.error("the guard has ended: what a killed agent leaves will stay")

    async def dismiss(self) -> None:
        """Tell the guard that nothing is left to clear away, and wait for its end."""
        if self._process is None or self._process.stdin is None:
            return
        with trio.move_on_after(_FAREWELL_SECONDS):
            with suppress(trio.BrokenResourceError):
                await self._process.stdin.send_all(FAREWELL)
            await self._process.stdin.aclose()
            await self._process.wait()


@asynccontextmanager
async def guarding(settings: Settings, lock: int) -> AsyncIterator[Guard]:
    """A guard for everything within the block, once it is started there.

    Args:
        settings: of the agent.
        lock: a locked descriptor, held by the guard as long as it lives.

    When the block ends well, all is removed and the guard is dismissed. When it fails, the guard
    acts as soon as this process has ended.
    """
    # It beats until all is unwound: that may take longer than the guard's patience, as when BPF
    # is being loaded.
    async with trio.open_nursery() as nursery:
        guard = Guard(settings, lock, nursery)
        yield guard
        nursery.cancel_scope.cancel()
    await guard.dismiss()
