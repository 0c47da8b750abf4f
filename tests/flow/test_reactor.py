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

from edgemesh.reactor.reactor import IN, Reactor
from edgemesh.reactor.timers import TICK_SECONDS


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


class WorkClock:
    """Time passes only while somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, microseconds: int = 70) -> None:
        self.now += microseconds / 1e6


class Turns:
    """A reactor that is turned by hand, flows that are always ready, and a crowd of newcomers.

    Each flow works 20 us a turn, each newcomer 70 us.
    """

    def __init__(self, reactor: Reactor, clock: WorkClock, *, flows: int, newcomers: int) -> None:
        def work_for_ever(recorder: Recorder) -> None:
            clock.work(20)
            recorder.other_end.send(b"1")

        self._reactor = reactor
        self.flows = [Recorder(reactor, work_for_ever) for _ in range(flows)]
        self.newcomers = [Recorder(reactor, lambda _: clock.work()) for _ in range(newcomers)]
        for newcomer in self.newcomers:
            reactor.watch_newcomer(newcomer.sock.fileno(), newcomer, IN)
        for each in self.flows + self.newcomers:
            each.other_end.send(b"1")

    def take(self) -> int:
        """Turn once; each flow has worked, and so many newcomers."""
        flows, newcomers = self._worked(self.flows), self._worked(self.newcomers)
        self._reactor.turn()
        assert self._worked(self.flows) == flows + len(self.flows)
        return self._worked(self.newcomers) - newcomers

    def _worked(self, recorders: list[Recorder]) -> int:
        return sum(len(each.heard) for each in recorders)

    def close(self) -> None:
        for each in self.flows + self.newcomers:
            each.close()


def test_a_crowd_of_newcomers_has_a_slice_of_every_turn_until_all_were_heard() -> None:
    clock = WorkClock()
    with Reactor(0, clock) as reactor:
        turns = Turns(reactor, clock, flows=1, newcomers=100)
        # A slice of 100 us is over when the second one is done.
        counts = [turns.take() for _ in range(50)]
        assert counts == [2] * 50
        assert turns.take() == 0
        turns.close()


def test_newcomers_get_twice_as_much_time_as_many_flows_take() -> None:
    clock = WorkClock()
    with Reactor(0, clock) as reactor:
        turns = Turns(reactor, clock, flows=25, newcomers=20)
        # In 1 ms the fifteenth is begun.
        assert turns.take() == 15
        assert turns.take() == 5
        turns.close()


def test_a_newcomer_that_becomes_a_flow_is_one_from_the_next_turn_on() -> None:
    clock = WorkClock()
    with Reactor(0, clock) as reactor:
        turns = Turns(reactor, clock, flows=0, newcomers=10)
        last = turns.newcomers[-1]
        reactor.watch(last.sock.fileno(), last, IN)
        reactor.turn()
        assert last.heard
        assert len(reactor) == 10
        reactor.unregister(last.sock.fileno())
        assert len(reactor) == 9
        turns.close()


async def test_deadlines_that_pass_at_once_let_flows_have_their_turns_in_between() -> None:
    clock = WorkClock()
    order = ""

    def note(what: str) -> None:
        nonlocal order
        order += what
        clock.work()

    def work_for_ever(recorder: Recorder) -> None:
        note("f")
        recorder.other_end.send(b"1")

    async with running(clock) as reactor:
        flow = Recorder(reactor, work_for_ever)
        for _ in range(100):
            reactor.after(0.001, flow, lambda: note("d"))
        flow.other_end.send(b"1")
        await until(lambda: order.count("d") == 100)
        # Two fill a slice; trio may give a task two turns in a row.
        assert max(map(len, order.split("f"))) <= 2 * 2
        flow.close()


async def test_what_is_left_for_the_end_of_a_turn_is_done_then_whoever_fails_at_it() -> None:
    done: list[str] = []
    async with running(trio.current_time) as reactor:
        first, second = Recorder(reactor), Recorder(reactor)

        def leave_work(recorder: Recorder) -> None:
            reactor.soon(second, lambda: fail(second))
            reactor.soon(second, lambda: done.append("after the failure"))
            done.append("within the turn")

        first.then = leave_work
        with structlog.testing.capture_logs():
            first.other_end.send(b"1")
            await until(lambda: len(done) == 2)
        assert done == ["within the turn", "after the failure"]
        assert (len(first.bugs), len(second.bugs)) == (0, 1)
        first.close()
        second.close()


async def test_work_that_another_task_leaves_is_done_when_it_settles() -> None:
    done: list[str] = []
    async with running(trio.current_time) as reactor:
        recorder = Recorder(reactor)
        reactor.soon(recorder, lambda: reactor.soon(recorder, lambda: done.append("both")))
        reactor.settle()
        assert done == ["both"]
        recorder.close()
