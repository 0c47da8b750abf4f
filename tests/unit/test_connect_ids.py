"""Numbers for the kernel: each is given once, and again only after all others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgemesh.policy.connect.ids import Ids

MOST = 8


@given(st.integers(1, MOST), st.lists(st.one_of(st.none(), st.integers(0, MOST - 1))))
def test_no_number_is_given_twice_at_a_time(first: int, steps: list[int | None]) -> None:
    held: list[int] = []
    ids = Ids(first, held.__contains__, MOST)
    for step in steps:
        if step is None and len(held) < MOST:
            number = ids.take()
            assert 1 <= number <= MOST
            assert number not in held
            held.append(number)
        elif step is not None and step < len(held):
            held.pop(step)


@given(st.integers(1, MOST))
def test_a_number_comes_again_after_all_others(first: int) -> None:
    ids = Ids(first, lambda _: False, MOST)
    assert ids.take() == first
    others = [ids.take() for _ in range(MOST - 1)]
    assert first not in others
    assert ids.take() == first


def test_a_number_that_is_used_is_passed_over_when_its_turn_comes() -> None:
    ids = Ids(1, {1}.__contains__, 3)
    assert [ids.take() for _ in range(4)] == [2, 3, 2, 3]
