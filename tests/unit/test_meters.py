"""A meter counts what it is told, in the bucket and class where it belongs."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.meters import GRPC_STATUSES, LATENCY_BOUNDS, Meter


@given(st.floats(0, 1000))
def test_a_duration_falls_into_the_first_bucket_that_holds_it(seconds: float) -> None:
    meter = Meter()
    meter.observe(200, seconds)
    index = meter.latencies.index(1)
    bounds = (-math.inf, *LATENCY_BOUNDS, math.inf)
    assert sum(meter.latencies) == 1
    assert bounds[index] < seconds <= bounds[index + 1]


@given(st.lists(st.tuples(st.integers(100, 999) | st.just(0), st.floats(0, 100))))
def test_nothing_is_lost_or_counted_twice(requests: list[tuple[int, float]]) -> None:
    meter = Meter()
    for status, seconds in requests:
        meter.observe(status, seconds)
    assert sum(meter.responses) == sum(meter.latencies) == len(requests)
    assert meter.seconds == pytest.approx(sum(seconds for _, seconds in requests))


@pytest.mark.parametrize(("status", "digit"), [(0, 0), (100, 1), (299, 2), (404, 4), (503, 5)])
def test_a_status_counts_by_its_first_digit(status: int, digit: int) -> None:
    meter = Meter()
    meter.observe(status, 0.1)
    assert meter.responses[digit] == 1


@pytest.mark.parametrize(
    ("code", "index"), [(0, 0), (16, 16), (17, GRPC_STATUSES), (-1, GRPC_STATUSES)]
)
def test_an_unknown_grpc_status_counts_as_other(code: int, index: int) -> None:
    meter = Meter()
    meter.observe_grpc(code)
    assert meter.grpc is not None
    assert meter.grpc[index] == 1
    assert sum(meter.grpc) == 1


def test_bounds_grow_by_a_factor_of_two_to_three() -> None:
    for lower, upper in pairwise(LATENCY_BOUNDS):
        assert 1.9 < upper / lower < 3.1
