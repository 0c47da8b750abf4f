"""One agent at a time in a run-time directory, and none while a guard clears away there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from edgemesh.app.sole import sole_agent
from edgemesh.model.errors import OperatorError


@contextmanager
def held(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
    os.close(descriptor)


async def test_an_agent_refuses_at_once_where_another_runs(tmp_path: Path) -> None:
    async with sole_agent(tmp_path):
        with pytest.raises(OperatorError, match="another edgemesh agent"):
            async with sole_agent(tmp_path):
                pass


async def test_an_agent_starts_where_another_has_ended(tmp_path: Path) -> None:
    for _ in range(2):
        async with sole_agent(tmp_path):
            pass


async def test_an_agent_waits_for_the_guard_of_an_earlier_one(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    clear = trio.Event()

    async def guard(*, task_status: trio.TaskStatus[None]) -> None:
        with held(tmp_path / "guard.lock"):
            task_status.started()
            await trio.sleep(3)
            clear.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(guard)
        async with sole_agent(tmp_path):
            assert clear.is_set()


async def test_a_guard_that_does_not_end_is_told_with_its_lock(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    with held(tmp_path / "guard.lock"), pytest.raises(OperatorError, match=r"guard\.lock"):
        async with sole_agent(tmp_path):
            pass


async def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=str(tmp_path / "missing")):
        async with sole_agent(tmp_path / "missing"):
            pass
