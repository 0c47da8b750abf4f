"""The alias table takes each slot as often as its share says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.policy.connect.alias import THRESHOLDS, alias_table

SHARES = st.lists(st.floats(0.1, 1000.0), min_size=1, max_size=60)


@given(SHARES)
def test_each_slot_is_taken_as_often_as_its_share_says(shares: list[float]) -> None:
    taken = [0.0] * len(shares)
    for slot, (threshold, alias) in enumerate(alias_table(shares)):
        taken[slot] += threshold / THRESHOLDS
        taken[alias] += 1 - threshold / THRESHOLDS
    mean = sum(shares) / len(shares)
    assert taken == pytest.approx([share / mean for share in shares], abs=1e-6)


@given(SHARES)
def test_thresholds_and_aliases_fit_the_map(shares: list[float]) -> None:
    for threshold, alias in alias_table(shares):
        assert 0 <= threshold < THRESHOLDS
        assert 0 <= alias < len(shares)


@given(st.integers(1, 60), st.floats(0.1, 1000.0))
def test_even_shares_need_no_other_slot(count: int, share: float) -> None:
    assert all(alias == slot for slot, (_, alias) in enumerate(alias_table([share] * count)))
