"""What the timer wheel promises, against a model that keeps deadlines in a list."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edgemesh.reactor.timers import TICK_SECONDS, Timer, TimerWheel

# Sums of many floats differ from one sum by their last digits.
ROUNDING = 1e-6


class WheelAgainstModel(RuleBasedStateMachine):
    """Sets, cancels and lets time pass, in any order."""

    @initialize(start=st.floats(0, 1e6))
    def begin(self, start: float) -> None:
        self.now = start
        self.wheel: TimerWheel[int] = TimerWheel(start)
        self.deadlines: dict[int, float] = {}
        self.timers: dict[int, Timer[int]] = {}
        self.made = 0

    @rule(seconds=st.one_of(st.floats(0, 1), st.floats(0, 4000)))
    def set(self, seconds: float) -> None:
        self.made += 1
        self.deadlines[self.made] = self.now + seconds
        self.timers[self.made] = self.wheel.set(self.now + seconds, self.made, int)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.timers:
            number = data.draw(st.sampled_from(sorted(self.timers)))
            self.timers[number].cancel()
            self.timers[number].cancel()
            self.deadlines.pop(number, None)

    @rule(seconds=st.one_of(st.floats(0, 0.2), st.floats(0, 10_000)))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        due = self.wheel.advance(self.now)
        numbers = [timer.owner for timer in due]
        for number in numbers:
            assert number is not None
            assert self.deadlines.pop(number) <= self.now + ROUNDING, "too early, or cancelled"
        late = [d for d in self.deadlines.values() if d < self.now - TICK_SECONDS - ROUNDING]
        assert not late

    @invariant()
    def count_is_right(self) -> None:
        assert len(self.wheel) == len(self.deadlines)
        assert bool(self.wheel) == bool(self.deadlines)

    @invariant()
    def shells_are_bounded(self) -> None:
        assert self.wheel.held <= 2 * len(self.wheel) + 257


TestWheelAgainstModel = WheelAgainstModel.TestCase


@given(st.lists(st.floats(0, 30), min_size=1, max_size=20), st.floats(0, 1000), st.floats(0.001, 7))
def test_deadlines_of_different_ticks_come_in_their_order(
    seconds: list[float], start: float, step: float
) -> None:
    wheel: TimerWheel[float] = TimerWheel(start)
    for each in seconds:
        wheel.set(start + each, each, int)
    now, came = start, []
    while wheel:
        now += step
        came += [timer.owner for timer in wheel.advance(now)]
    assert [int((start + each) / TICK_SECONDS) for each in came if each is not None] == sorted(
        int((start + each) / TICK_SECONDS) for each in seconds
    )


def test_a_cancelled_timer_lets_go_of_its_callback_and_owner() -> None:
    wheel: TimerWheel[object] = TimerWheel(0)
    timer = wheel.set(10, object(), int)
    timer.cancel()
    assert timer.callback is None
    assert timer.owner is None
    assert wheel.advance(20) == []


def test_a_timer_may_be_cancelled_after_it_has_been_handed_out() -> None:
    wheel: TimerWheel[int] = TimerWheel(0)
    timer = wheel.set(1, 1, int)
    wheel.set(5, 5, int)
    assert wheel.advance(2) == [timer]
    timer.cancel()
    assert timer.callback is None
    assert len(wheel) == 1


def test_one_that_is_handed_out_may_set_the_next() -> None:
    wheel: TimerWheel[int] = TimerWheel(0)
    fired = []

    def again() -> None:
        fired.append(len(fired))
        if len(fired) < 3:
            wheel.set(0, 0, again)

    callbacks: list[Callable[[], None]] = [again]
    now = 0.0
    while callbacks:
        callbacks.pop()()
        now += TICK_SECONDS
        callbacks += [timer.callback for timer in wheel.advance(now) if timer.callback]
    assert fired == [0, 1, 2]


def test_timers_cancelled_by_the_thousand_do_not_pile_up() -> None:
    """As connections do that come and go, each with its idle timeout of an hour."""
    wheel: TimerWheel[int] = TimerWheel(0)
    for number in range(50_000):
        wheel.set(3600 + number / 1000, number, int).cancel()
        assert wheel.held <= 257
    assert not wheel
