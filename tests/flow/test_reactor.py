"""What the reactor promises to its handlers, and to the other tasks of the process."""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NoReturn

import structlog
import trio
import trio.testing
from plane_fixtures import open_descriptors

from edgemesh.proxy.reactor import IN, Reactor
from edgemesh.proxy.timers import TICK_SECONDS


class Recorder:
    """A handler that reads, notes, and does what the test wants."""

    def __init__(self, reactor: Reactor, then: Callable[[Recorder], None] | None = None) -> None:
        self.reactor = reactor
        self.sock, self.other_end = socket.socketpair()
        self.sock.setblocking(False)
        self.then = then
        self.heard: list[bytes] = []
        self.bugs: list[Exception] = []
        reactor.watch(self.sock.fileno(), self, IN)

    def on_events(self, events: int) -> None:  # noqa: ARG002
        self.heard.append(self.sock.recv(1))
        if self.then:
            self.then(self)

    def on_bug(self, error: Exception) -> None:
        self.bugs.append(error)
        self.reactor.close(self.sock)

    def close(self) -> None:
        self.sock.close()
        self.other_end.close()


class SteppingClock:
    """Each reading is a little later than the one before, whatever the machine's load."""

    def __init__(self, step_seconds: float = 0.00001) -> None:
        self.readings = 0
        self._step = step_seconds

    def __call__(self) -> float:
        self.readings += 1
        return self.readings * self._step


@asynccontextmanager
async def running(clock: Callable[[], float], repoll: float = 0.00003) -> AsyncIterator[Reactor]:
    before = open_descriptors()
    with Reactor(repoll, clock) as reactor:
        async with trio.open_nursery() as nursery:
            await nursery.start(reactor.run)
            yield reactor
            nursery.cancel_scope.cancel()
    assert open_descriptors() == before


async def until(holds: Callable[[], object]) -> None:
    with trio.fail_after(10):
        # What is waited for happens in handlers, which know no trio.Event.
        while not holds():  # noqa: ASYNC110
            await trio.lowlevel.checkpoint()


def fail(recorder: Recorder) -> NoReturn:
    raise ZeroDivisionError(recorder.heard)


async def test_a_handler_that_raises_is_logged_and_told_and_the_others_go_on() -> None:
    async with running(trio.current_time) as reactor:
        good, bad = Recorder(reactor), Recorder(reactor, fail)
        with structlog.testing.capture_logs() as logs:
            for each in (bad, good):
                each.other_end.send(b"1")
            await until(lambda: good.heard and bad.bugs)
        good.other_end.send(b"2")
        await until(lambda: good.heard == [b"1", b"2"])
        assert reactor.bugs == 1
        assert bad.sock.fileno() == -1
        assert [(log["event"], log["log_level"]) for log in logs] == [
            ("bug in a connection", "error")
        ]
        good.close()
        bad.close()


async def test_a_timer_that_raises_is_logged_and_told_and_the_others_fire() -> None:
    async with running(trio.current_time) as reactor:
        good, bad = Recorder(reactor), Recorder(reactor)
        with structlog.testing.capture_logs() as logs:
            reactor.after(0, bad, lambda: fail(bad))
            reactor.after(0, good, lambda: good.heard.append(b"fired"))
            await until(lambda: good.heard)
        assert len(bad.bugs) == reactor.bugs == len(logs) == 1
        good.close()
        bad.close()


async def test_a_descriptor_closed_in_a_turn_is_not_reused_before_its_end() -> None:
    """Else a newcomer would get the events of its predecessor, which are in the batch still."""
    async with running(trio.current_time) as reactor:
        newcomers: list[Recorder] = []
        pair: list[Recorder] = []

        def replace_the_other(recorder: Recorder) -> None:
            other = pair[1 - pair.index(recorder)]
            reactor.close(other.sock)
            newcomers.extend(Recorder(reactor) for _ in range(5))

        pair += [Recorder(reactor, replace_the_other) for _ in range(2)]
        for each in pair:
            each.other_end.send(b"1")
        await until(lambda: newcomers)
        for each in newcomers:
            each.other_end.send(b"2")
        await until(lambda: all(each.heard for each in newcomers))
        assert [each.heard for each in newcomers] == [[b"2"]] * 5
        assert sorted(each.heard for each in pair) == [[], [b"1"]]
        for each in pair + newcomers:
            each.close()


def echo_for_ever(recorder: Recorder) -> None:
    recorder.other_end.send(b"1")


async def test_other_tasks_run_under_constant_load_after_a_bounded_stretch() -> None:
    """A stretch is 2 ms by the clock, which two readings a turn let pass in 100 turns here."""
    async with running(SteppingClock()) as reactor:
        busy = Recorder(reactor, echo_for_ever)
        busy.other_end.send(b"1")
        await until(lambda: reactor.turns > 1000)
        stretches = []
        for _ in range(20):
            before = reactor.turns
            await trio.lowlevel.checkpoint()
            stretches.append(reactor.turns - before)
        # Trio runs tasks in no fixed order, so the reactor's turn may come twice in a row.
        assert 50 < max(stretches) <= 2 * 110
        busy.close()


async def feed_sparsely(recorder: Recorder, times: int) -> None:
    for _ in range(times):
        heard = len(recorder.heard)
        recorder.other_end.send(b"1")
        await until(lambda heard=heard: len(recorder.heard) > heard)
        await trio.testing.wait_all_tasks_blocked()


async def test_polling_again_stops_for_sparse_traffic_and_is_tried_now_and_then() -> None:
    clock = SteppingClock()
    async with running(clock) as reactor:
        sparse = Recorder(reactor)
        await feed_sparsely(sparse, 1)
        with_repolling = clock.readings
        await feed_sparsely(sparse, 100)
        clock.readings = 0
        await feed_sparsely(sparse, 320)
        # One reading a turn, and the 10 turns that try again take some more.
        assert 320 < clock.readings <= 320 + 10 * with_repolling
        sparse.close()


async def test_polling_again_comes_back_for_busy_traffic() -> None:
    async with running(SteppingClock()) as reactor:
        sparse = Recorder(reactor)
        await feed_sparsely(sparse, 200)
        busy = Recorder(reactor, echo_for_ever)
        busy.other_end.send(b"1")
        await until(lambda: reactor.turns > 2000)
        before, schedules = reactor.turns, 0
        while reactor.turns < before + 1000:
            schedules += 1
            await trio.lowlevel.checkpoint()
        assert schedules < 50
        sparse.close()
        busy.close()


async def test_polling_again_can_be_turned_off() -> None:
    clock = SteppingClock()
    async with running(clock, repoll=0) as reactor:
        sparse = Recorder(reactor)
        await feed_sparsely(sparse, 100)
        clock.readings = 0
        await feed_sparsely(sparse, 64)
        assert clock.readings <= 64 + 2 * 3
        sparse.close()


async def test_deadlines_are_kept_without_traffic(autojump_clock: trio.testing.MockClock) -> None:
    async with running(trio.current_time) as reactor:
        recorder = Recorder(reactor)
        fired: list[float] = []
        start = trio.current_time()
        for seconds in (7.0, 0.5, 30.0):
            reactor.after(seconds, recorder, lambda: fired.append(trio.current_time() - start))
        cancelled = reactor.after(10, recorder, lambda: fired.append(math.nan))
        cancelled.cancel()
        await trio.sleep(31)
        for came, seconds in zip(fired, (0.5, 7.0, 30.0), strict=True):
            assert seconds <= came <= seconds + 2 * TICK_SECONDS + 1e-6
        recorder.close()


async def test_nothing_ticks_while_there_is_no_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(trio.current_time) as reactor:
        recorder = Recorder(reactor)
        reactor.after(1, recorder, int)
        await trio.sleep(2)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf
        recorder.close()


async def test_a_call_from_another_task_has_the_time_and_closes_what_it_let_go() -> None:
    now = [100.0]
    async with running(lambda: now[0]) as reactor:
        recorder = Recorder(reactor)
        now[0] = 5000.0
        reactor.call(recorder, lambda: reactor.close(recorder.sock))
        assert reactor.now == 5000
        assert recorder.sock.fileno() == -1
        reactor.call(recorder, lambda: fail(recorder))
        assert len(recorder.bugs) == 1
        recorder.close()
