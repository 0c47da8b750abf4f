"""Whether the other end of a link is there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgemesh.policy.bus.liveness import Finding, Liveness

SILENCE = 20.0


def look(liveness: Liveness, now: float, *, busy: bool) -> Finding:
    """As a link does: who is to be asked is asked."""
    finding = liveness.look(now, busy=busy)
    if finding is Finding.ASK:
        liveness.asked(now)
    return finding


@given(st.floats(0, 100), st.booleans())
def test_an_end_that_says_nothing_is_asked_then_doubted_then_given_up(
    last_word: float, busy: bool
) -> None:
    liveness = Liveness(SILENCE, 0)
    liveness.heard(last_word)
    liveness.asked(last_word)
    liveness.heard(last_word)
    now, found = last_word, []
    while Finding.GIVE_UP not in found:
        now += liveness.look_seconds
        found.append(look(liveness, now, busy=busy))
    assert [each for each in found if each is not Finding.NOTHING] == [
        Finding.ASK,
        Finding.DOUBT,
        Finding.GIVE_UP,
    ]
    assert now - last_word <= SILENCE + liveness.look_seconds


def test_a_busy_end_is_doubted_within_a_third_of_the_time_that_ends_it() -> None:
    liveness = Liveness(SILENCE, 0)
    now = 0.0
    while look(liveness, now, busy=True) is not Finding.DOUBT:
        now += liveness.look_seconds
    assert now <= SILENCE / 3
    assert liveness.doubted


def test_one_that_answers_is_believed() -> None:
    liveness = Liveness(SILENCE, 0)
    liveness.asked(0)
    assert look(liveness, 5, busy=True) is Finding.DOUBT
    assert liveness.heard(6)
    assert not liveness.doubted
    assert not liveness.heard(7)
    assert liveness.quiet(9) == 2
    assert look(liveness, 7.5, busy=True) is Finding.NOTHING


def test_a_talkative_one_is_asked_now_and_then_how_long_the_way_is() -> None:
    liveness = Liveness(SILENCE, 0)
    found = []
    for now in range(1, 41):
        liveness.heard(now)
        found.append(look(liveness, now, busy=True))
    assert found.count(Finding.ASK) == 2
