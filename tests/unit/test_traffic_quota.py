"""Quotas let through what they say, to a token."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traffic_fixtures import Calls, endpoints

from edgemesh.model.policies import Policy, Quota, QuotaScope
from edgemesh.policy.traffic.quota import QuotaState

TEN = Quota(10, 5)


def passed(quota: QuotaState, times: Iterable[float], key: str = "") -> int:
    return sum(not quota.take(key, now) for now in times)


@settings(deadline=None)
@given(
    rate=st.floats(5, 1000),
    burst=st.integers(1, 100),
    start=st.floats(0, 1e6),
    key=st.sampled_from(["", "web"]),
)
def test_over_ten_seconds_at_twice_the_rate_rate_times_time_plus_burst_pass(
    rate: float, burst: int, start: float, key: str
) -> None:
    quota = QuotaState(Quota(rate, burst), 10)
    count = int(rate * 2 * 10)
    through = passed(quota, (start + number / (rate * 2) for number in range(count)), key)
    expected = min(rate * 10 + burst, count)
    assert abs(through - expected) <= max(expected * 0.02, 1)


@given(
    gaps=st.lists(st.floats(0, 2), min_size=1, max_size=200),
    rate=st.floats(0.5, 50),
    burst=st.integers(1, 20),
)
def test_never_more_than_burst_and_rate_times_time_pass_in_any_stretch(
    gaps: list[float], rate: float, burst: int
) -> None:
    quota = QuotaState(Quota(rate, burst), 10)
    now = 0.0
    through: list[float] = []
    for gap in gaps:
        now += gap
        if not quota.take("", now):
            through.append(now)
    for first, begin in enumerate(through):
        for last, end in enumerate(through[first:], first):
            assert last - first + 1 <= burst + rate * (end - begin) + 1e-6


@given(rate=st.floats(0.5, 1000), burst=st.integers(1, 20), key=st.sampled_from(["", "web"]))
def test_who_waits_as_long_as_it_was_told_passes(rate: float, burst: int, key: str) -> None:
    quota = QuotaState(Quota(rate, burst), 10)
    now = 5.0
    for _ in range(burst):
        assert quota.take(key, now) == 0.0
    wait = quota.take(key, now)
    assert wait == pytest.approx(1 / rate)
    assert quota.take(key, now + wait * 0.9)
    assert quota.take(key, now + wait) == 0.0


def test_calls_exactly_at_the_rate_all_pass() -> None:
    quota = QuotaState(Quota(10, 1), 10)
    assert passed(quota, (1000 + number / 10 for number in range(1000))) == 1000


def test_a_burst_of_nothing_lets_one_call_through_at_a_time() -> None:
    quota = QuotaState(Quota(10, 0), 10)
    assert passed(quota, [1.0, 1.0, 1.1]) == 2


def test_each_key_has_its_own_tokens() -> None:
    quota = QuotaState(Quota(1, 2, QuotaScope.SOURCE), 10)
    assert passed(quota, [1.0] * 5, "a") == 2
    assert passed(quota, [1.0] * 5, "b") == 2


@pytest.mark.parametrize("key", ["", "web"])
def test_a_bucket_that_was_left_alone_is_full_again_and_not_fuller(key: str) -> None:
    quota = QuotaState(TEN, 10)
    passed(quota, [1.0] * 9, key)
    assert passed(quota, [1000.0] * 9, key) == 5


def test_the_key_that_was_not_used_for_longest_gives_way() -> None:
    quota = QuotaState(Quota(1, 1, QuotaScope.SOURCE), 2)
    for key in ("a", "b", "a", "c"):
        quota.take(key, 1.0)
    assert quota.take("a", 1.0)
    assert quota.take("b", 1.0) == 0.0


@given(
    taken=st.integers(0, 20),
    burst=st.integers(1, 40),
    rate=st.floats(0.01, 100),
    key=st.sampled_from(["", "web"]),
)
def test_a_changed_rate_keeps_the_tokens_up_to_the_new_burst(
    taken: int, burst: int, rate: float, key: str
) -> None:
    quota = QuotaState(Quota(1, 20), 10)
    passed(quota, [5.0] * taken, key)
    quota.change(Quota(rate, burst), 5.0)
    tokens = 20 - taken
    # A key that was never used has a full bucket.
    expected = burst if key and not taken else min(tokens, burst)
    assert passed(quota, [5.0] * 50, key) == expected


def test_tokens_that_came_before_a_change_are_kept() -> None:
    quota = QuotaState(Quota(10, 10), 10)
    passed(quota, [0.0] * 10)
    quota.change(Quota(1, 10), 0.5)
    assert passed(quota, [0.5] * 10) == 5


def test_another_scope_begins_with_full_buckets() -> None:
    quota = QuotaState(Quota(1, 3, QuotaScope.SOURCE), 10)
    passed(quota, [1.0] * 3, "a")
    quota.change(Quota(1, 3, QuotaScope.ROUTE), 1.0)
    assert passed(quota, [1.0] * 5, "a") == 3


def test_a_quota_that_stays_the_same_is_left_alone() -> None:
    quota = QuotaState(TEN, 10)
    passed(quota, [1.0] * 3)
    quota.change(Quota(10, 5), 1.0)
    assert passed(quota, [1.0] * 9) == 2


def test_tokens_outlive_snapshots_and_go_with_the_quota() -> None:
    calls = Calls(Policy(client_quota=TEN), endpoints(1))
    quota = calls.traffic.client_quota(calls.port)
    assert quota is not None
    assert passed(quota, [calls.now] * 9) == 5
    calls.change(Policy(client_quota=TEN), endpoints(2))
    assert calls.traffic.client_quota(calls.port) is quota
    assert quota.take("", calls.now)
    calls.change(Policy(), endpoints(2))
    assert calls.traffic.client_quota(calls.port) is None


def test_a_changed_quota_takes_hold_with_the_snapshot() -> None:
    calls = Calls(Policy(client_quota=TEN), endpoints(1))
    calls.change(Policy(client_quota=Quota(10, 2)), endpoints(1))
    quota = calls.traffic.client_quota(calls.port)
    assert quota is not None
    assert passed(quota, [calls.now] * 9) == 2
