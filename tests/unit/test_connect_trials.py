"""Each call to a half-open endpoint is one trial, whether it is heard of when counted or over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgemesh.policy.connect.trials import Trials


@given(st.lists(st.sampled_from(["begins", "ends", "counted"])))
def test_each_call_is_one_trial(steps: list[str]) -> None:
    trials = Trials()
    begun = ended = counted = told = 0
    for step in steps:
        if step == "begins":
            begun += 1
        elif step == "ends" and ended < begun:
            ended += 1
            told += trials.end()
        elif step == "counted":
            told += trials.begin(begun - counted)
            counted = begun
        assert max(ended, counted) <= told <= begun
    told += trials.begin(begun - counted)
    assert told == begun
