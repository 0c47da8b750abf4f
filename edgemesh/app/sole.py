"""One agent at a time in a run-time directory, and none while a guard cleans up there.

Two locks, both flock(2): they end with the processes that hold them, however those end.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

from edgemesh.model.errors import OperatorError

# Removing rules takes some tenths of a second, on a busy machine some seconds.
_CLEARING_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.02


@asynccontextmanager
async def sole_agent(directory: Path) -> AsyncIterator[int]:
    """Be the only agent there until the block is left.

    Returns:
        The descriptor of the guard's lock, to be handed to the guard: with the guard's end the
        next agent may begin.

    Raises:
        OperatorError: another agent runs there, or the guard of an earlier one does not end.
    """
    with _opened(directory / "agent.lock") as agent, _opened(directory / "guard.lock") as guard:
        if not _take(agent):
            raise OperatorError(
                f"directory {directory}: another edgemesh agent runs with it",
                "stop that one, or give this one a run_dir of its own",
            )
        with trio.move_on_after(_CLEARING_SECONDS) as waiting:
            # The lock's owner is another process: there is no event to wait for.
            while not _take(guard):  # noqa: ASYNC110
                await trio.sleep(_LOOK_AGAIN_SECONDS)
        if waiting.cancelled_caught:
            raise OperatorError(
                f"directory {directory}: an earlier agent's guard still holds guard.lock",
                f"its process is shown by: fuser {directory / 'guard.lock'}",
            )
        yield guard


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
