"""Connections that fail are tried again, less and less often."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgemesh.policy.bus.reconnect import Reconnect


def test_pauses_double_up_to_the_longest() -> None:
    pauses = Reconnect(0.5, 30)
    assert [pauses.pause(0, 1.0) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_jitter_takes_at_most_half_of_a_pause() -> None:
    assert Reconnect(8, 30).pause(0, 0.0) == 4
    assert Reconnect(8, 30).pause(0, 0.5) == 6


def test_a_connection_that_lasted_begins_anew_and_one_that_flapped_does_not() -> None:
    pauses = Reconnect(0.5, 30)
    for _ in range(5):
        pauses.pause(0, 1.0)
    assert pauses.pause(29, 1.0) == 16
    assert pauses.pause(31, 1.0) == 0.5
    assert pauses.pause(0, 1.0) == 1


@given(
    lasted=st.lists(st.floats(0, 20), min_size=1, max_size=300),
    chance=st.floats(0, 1),
)
def test_pauses_are_never_zero_and_never_beyond_the_longest(
    lasted: list[float], chance: float
) -> None:
    pauses = Reconnect(0.5, 20)
    assert all(0.25 <= pauses.pause(each, chance) <= 20 for each in lasted)
