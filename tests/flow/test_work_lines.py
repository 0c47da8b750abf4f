"""Work in lines: which waits for which, and how much may wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

import trio
import trio.testing

from edgemesh.bus.router.lines import Work, WorkLines


class Recorder:
    """Makes work that takes some time and notes when it is over."""

    def __init__(self) -> None:
        self.done: list[Hashable] = []

    def work(self, name: Hashable, seconds: float) -> Work:
        async def work() -> None:
            await trio.sleep(seconds)
            self.done.append(name)

        return work


@asynccontextmanager
async def running(lines: WorkLines) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lines.run)
        yield
        nursery.cancel_scope.cancel()


async def test_a_line_keeps_its_order_and_holds_up_no_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    lines, recorder = WorkLines(4), Recorder()
    async with running(lines):
        assert lines.put("slow", recorder.work("first", 9))
        assert lines.put("slow", recorder.work("second", 1))
        assert lines.put("fast", recorder.work("other", 2))
        await trio.sleep(20)
    assert recorder.done == ["other", "first", "second"]


async def test_what_is_too_much_is_refused_and_there_is_room_again_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    lines, recorder = WorkLines(2), Recorder()
    async with running(lines):
        taken = [lines.put(number, recorder.work(number, 1)) for number in range(6)]
        assert taken == [True] * 4 + [False] * 2
        await trio.sleep(1.5)
        assert lines.put("late", recorder.work("late", 1))
        await trio.sleep(5)
    assert set(recorder.done) == {0, 1, 2, 3, "late"}


async def test_so_much_is_done_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    lines, recorder = WorkLines(3), Recorder()
    async with running(lines):
        for number in range(6):
            lines.put(number, recorder.work(number, 1))
        await trio.sleep(1.5)
        assert len(recorder.done) == 3
        await trio.sleep(1)
        assert len(recorder.done) == 6
