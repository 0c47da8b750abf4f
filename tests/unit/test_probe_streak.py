"""When probes change what is thought of an endpoint."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.policies import HealthCheck
from edgemesh.policy.health import ProbeStreak


def thoughts(check: HealthCheck, probes: str) -> str:
    """What is thought after each probe: ``+`` and ``-`` stand for passed and failed."""
    streak = ProbeStreak(check)
    found = []
    for probe in probes:
        streak.note(passed=probe == "+")
        found.append("+" if streak.healthy else "-")
    return "".join(found)


@pytest.mark.parametrize(
    ("probes", "thought"),
    [
        ("+", "+"),
        ("-", "-"),
        ("+---", "+++-"),
        ("+--+--+", "+++++++"),
        ("-++", "--+"),
        ("-+-+-", "-----"),
        ("+---++---", "+++--+++-"),
    ],
)
def test_the_first_probe_settles_it_and_later_ones_when_there_are_enough_in_a_row(
    probes: str, thought: str
) -> None:
    assert thoughts(HealthCheck(healthy_threshold=2, unhealthy_threshold=3), probes) == thought


def test_nothing_is_thought_before_the_first_probe() -> None:
    assert ProbeStreak(HealthCheck()).healthy is None


checks = st.builds(
    HealthCheck, healthy_threshold=st.integers(1, 4), unhealthy_threshold=st.integers(1, 4)
)


@given(checks, st.lists(st.booleans(), min_size=1, max_size=30))
def test_a_change_needs_its_threshold_of_probes_that_agree(
    check: HealthCheck, probes: list[bool]
) -> None:
    streak = ProbeStreak(check)
    since = 0
    for number, passed in enumerate(probes):
        before = streak.healthy
        changed = streak.note(passed=passed)
        assert changed is (streak.healthy is not before)
        if changed:
            assert streak.healthy is passed
            threshold = check.healthy_threshold if passed else check.unhealthy_threshold
            needed = 1 if before is None else threshold
            assert probes[number + 1 - needed : number + 1] == [passed] * needed
            assert number - since + 1 >= needed
            since = number + 1


@given(checks, st.lists(st.booleans(), min_size=1, max_size=30))
def test_it_is_never_long_in_doubt(check: HealthCheck, probes: list[bool]) -> None:
    """As many probes in a row as it takes always settle it."""
    streak = ProbeStreak(check)
    for passed in probes:
        streak.note(passed=passed)
    longest = max(check.healthy_threshold, check.unhealthy_threshold)
    for verdict, _ in pairwise((True, False, True)):
        for _ in range(longest):
            streak.note(passed=verdict)
        assert streak.healthy is verdict
