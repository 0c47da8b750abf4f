"""Breakers: an endpoint that fails is left alone for a while, and comes back by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traffic_fixtures import Calls, endpoints

from edgemesh.model.flows import Refusal
from edgemesh.model.policies import Breaker, Policy, Subset
from edgemesh.policy.traffic.breaker import Phase
from edgemesh.policy.traffic.calls import Outcome
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.events import EventKind

FAILURES = [
    Outcome.SERVER_ERROR,
    Outcome.GATEWAY_ERROR,
    Outcome.CONNECT_FAILED,
    Outcome.RESET,
    Outcome.TIMEOUT,
]
THREE = Breaker(consecutive_errors=3, base_ejection_seconds=30, max_ejection_percent=100)


def calls_with(breaker: Breaker, count: int = 3) -> Calls:
    return Calls(Policy(breaker=breaker), endpoints(count))


def phase(calls: Calls, index: int = 0) -> Phase:
    return calls.state(index).breaker.view(calls.now).phase


def eject(calls: Calls, index: int = 0, times: int = 3) -> None:
    for _ in range(times):
        calls.call_at(index, Outcome.RESET)


def let_in(calls: Calls) -> EndpointState:
    """Begin the calls until one goes to the half-open first endpoint."""
    while True:
        state = calls.choose()
        assert isinstance(state, EndpointState)
        if state is calls.state(0):
            calls.upstream.begin(state)
            return state


@pytest.mark.parametrize("failure", FAILURES)
def test_as_many_failures_in_a_row_as_the_policy_says_eject(failure: Outcome) -> None:
    calls = calls_with(THREE)
    assert calls.call_at(0, failure) is None
    assert calls.call_at(0, failure) is None
    event = calls.call_at(0, failure)
    assert event is not None
    assert (event.kind, event.reason, event.seconds, event.ejections) == (
        EventKind.EJECTED,
        "consecutive-errors",
        30.0,
        1,
    )
    assert (event.port, event.subset, event.endpoint) == (calls.port, "", endpoints(1)[0])
    assert set(calls.counts(20)) == {"10.0.0.2", "10.0.0.3"}


def test_a_success_in_between_starts_the_count_anew() -> None:
    calls = calls_with(THREE)
    for outcome in (Outcome.RESET, Outcome.RESET, Outcome.SUCCESS, Outcome.RESET, Outcome.RESET):
        assert calls.call_at(0, outcome) is None
    assert phase(calls) is Phase.CLOSED


def test_a_call_that_the_client_gave_up_counts_neither_way() -> None:
    calls = calls_with(THREE)
    for outcome in (Outcome.RESET, Outcome.CANCELLED, Outcome.RESET, Outcome.CANCELLED):
        assert calls.call_at(0, outcome) is None
    assert calls.call_at(0, Outcome.RESET) is not None


def test_failures_that_are_far_apart_are_not_in_a_row() -> None:
    calls = calls_with(THREE)
    for _ in range(10):
        assert calls.call_at(0, Outcome.RESET) is None
        calls.now += 11
    assert phase(calls) is Phase.CLOSED


def test_gateway_errors_have_a_count_of_their_own() -> None:
    calls = calls_with(Breaker(consecutive_errors=9, consecutive_gateway_errors=2))
    calls.call_at(0, Outcome.GATEWAY_ERROR)
    calls.call_at(0, Outcome.SERVER_ERROR)
    assert calls.call_at(0, Outcome.GATEWAY_ERROR) is None
    event = calls.call_at(0, Outcome.TIMEOUT)
    assert event is not None
    assert event.reason == "consecutive-gateway-errors"


def test_a_policy_that_minds_gateway_errors_alone_takes_a_500_for_an_answer() -> None:
    calls = calls_with(Breaker(consecutive_errors=0, consecutive_gateway_errors=1))
    for _ in range(9):
        assert calls.call_at(0, Outcome.SERVER_ERROR) is None
    assert calls.call_at(0, Outcome.GATEWAY_ERROR) is not None
    calls.now += 30
    event = calls.upstream.end(let_in(calls), Outcome.SERVER_ERROR, 0.1, calls.now)
    assert event is not None
    assert event.kind is EventKind.RETURNED


def test_a_breaker_that_counts_nothing_never_opens() -> None:
    calls = calls_with(Breaker(consecutive_errors=0))
    for failure in FAILURES * 5:
        assert calls.call_at(0, failure) is None


def test_without_a_breaker_failures_are_counted_and_nothing_else() -> None:
    calls = Calls(Policy(), endpoints(1))
    for failure in FAILURES * 5:
        assert calls.call_at(0, failure) is None
    assert calls.state(0).failures == 25
    assert calls.state(0).calls == 25
    assert calls.state(0).seconds == pytest.approx(2.5)


def test_after_its_time_an_endpoint_gets_one_trial_and_returns_when_that_succeeds() -> None:
    calls = calls_with(THREE)
    eject(calls)
    calls.now += 29.9
    assert "10.0.0.1" not in calls.counts(9)
    calls.now += 0.1
    trial = let_in(calls)
    assert phase(calls) is Phase.HALF_OPEN
    assert "10.0.0.1" not in calls.counts(9)
    event = calls.upstream.end(trial, Outcome.SUCCESS, 0.1, calls.now)
    assert event is not None
    assert (event.kind, event.reason, event.seconds) == (EventKind.RETURNED, "", 0.0)
    assert calls.counts(9)["10.0.0.1"] == 3


def test_a_trial_that_fails_ejects_for_longer_up_to_the_longest() -> None:
    calls = calls_with(
        Breaker(consecutive_errors=1, base_ejection_seconds=10, max_ejection_seconds=25)
    )
    eject(calls, times=1)
    seconds = []
    for _ in range(4):
        calls.now = calls.state(0).breaker.open_until
        event = calls.upstream.end(let_in(calls), Outcome.RESET, 0.1, calls.now)
        assert event is not None
        assert event.reason == "trial-failed"
        seconds.append(event.seconds)
    assert seconds == [20, 25, 25, 25]


def test_the_longest_ejection_is_never_shorter_than_the_first() -> None:
    calls = calls_with(
        Breaker(consecutive_errors=1, base_ejection_seconds=60, max_ejection_seconds=10)
    )
    event = calls.call_at(0, Outcome.RESET)
    assert event is not None
    assert event.seconds == 60


def test_calm_intervals_shorten_the_next_ejection_again() -> None:
    calls = calls_with(THREE)
    for _ in range(3):
        eject(calls)
        calls.now = calls.state(0).breaker.open_until
        calls.upstream.end(let_in(calls), Outcome.SUCCESS, 0.1, calls.now)
    assert calls.state(0).breaker.view(calls.now).ejections == 3
    calls.now += 20
    eject(calls, times=2)
    event = calls.call_at(0, Outcome.RESET)
    assert event is not None
    assert (event.ejections, event.seconds) == (2, 60.0)
    calls.now += 60
    calls.upstream.end(let_in(calls), Outcome.SUCCESS, 0.1, calls.now)
    calls.now += 1000
    eject(calls, times=2)
    event = calls.call_at(0, Outcome.RESET)
    assert event is not None
    assert event.ejections == 1


def test_without_an_interval_ejections_only_grow() -> None:
    calls = calls_with(Breaker(consecutive_errors=1, interval_seconds=0, base_ejection_seconds=1))
    for times in (1, 2, 3):
        event = calls.call_at(0, Outcome.RESET)
        assert event is not None
        assert event.ejections == times
        calls.now += event.seconds
        assert let_in(calls) is calls.state(0)
        calls.upstream.end(calls.state(0), Outcome.SUCCESS, 0.1, calls.now)
        calls.now += 1000


def test_several_trials_must_succeed_when_the_policy_says_so_and_run_side_by_side() -> None:
    calls = calls_with(Breaker(consecutive_errors=1, half_open_requests=2))
    eject(calls, times=1)
    calls.now += 30
    first, second = let_in(calls), let_in(calls)
    assert "10.0.0.1" not in calls.counts(9)
    assert calls.upstream.end(first, Outcome.SUCCESS, 0.1, calls.now) is None
    assert "10.0.0.1" not in calls.counts(9)
    assert calls.upstream.end(second, Outcome.SUCCESS, 0.1, calls.now) is not None
    assert "10.0.0.1" in calls.counts(9)


def test_a_trial_that_the_client_gave_up_is_made_again() -> None:
    calls = calls_with(THREE)
    eject(calls)
    calls.now += 30
    calls.upstream.end(let_in(calls), Outcome.CANCELLED, 0.1, calls.now)
    assert phase(calls) is Phase.HALF_OPEN
    assert calls.upstream.end(let_in(calls), Outcome.SUCCESS, 0.1, calls.now) is not None


def test_a_trial_that_never_ends_is_not_waited_for_longer_than_an_interval() -> None:
    calls = calls_with(THREE)
    eject(calls)
    calls.now += 30
    let_in(calls)
    calls.now += 9
    assert "10.0.0.1" not in calls.counts(9)
    calls.now += 1
    assert calls.upstream.end(let_in(calls), Outcome.SUCCESS, 0.1, calls.now) is not None


@pytest.mark.parametrize("outcome", [*FAILURES, Outcome.SUCCESS, Outcome.CANCELLED])
def test_calls_that_were_under_way_change_nothing_for_an_ejected_endpoint(outcome: Outcome) -> None:
    calls = calls_with(THREE)
    calls.upstream.begin(calls.state(0))
    eject(calls)
    before = calls.state(0).breaker.view(calls.now)
    assert calls.upstream.end(calls.state(0), outcome, 0.1, calls.now) is None
    assert calls.state(0).breaker.view(calls.now) == before


@pytest.mark.parametrize("outcome", [Outcome.RESET, Outcome.SUCCESS])
def test_calls_that_were_under_way_are_no_trials(outcome: Outcome) -> None:
    calls = calls_with(THREE)
    calls.upstream.begin(calls.state(0))
    eject(calls)
    calls.now += 30
    calls.choose()
    assert phase(calls) is Phase.HALF_OPEN
    assert calls.upstream.end(calls.state(0), outcome, 0.1, calls.now) is None
    assert phase(calls) is Phase.HALF_OPEN


@given(count=st.integers(1, 12), percent=st.integers(0, 100))
def test_no_more_endpoints_are_out_than_the_policy_allows_but_one_always_may(
    count: int, percent: int
) -> None:
    calls = calls_with(Breaker(consecutive_errors=1, max_ejection_percent=percent), count)
    for index in range(count):
        calls.call_at(index, Outcome.RESET)
    out = sum(phase(calls, index) is Phase.OPEN for index in range(count))
    assert out == max(count * percent // 100, 1)


def test_with_every_endpoint_out_calls_are_refused() -> None:
    calls = calls_with(THREE, 2)
    eject(calls, 0)
    eject(calls, 1)
    assert calls.choose() is Refusal.BREAKER_OPEN


@given(outcomes=st.lists(st.sampled_from([Outcome.SUCCESS, *FAILURES]), max_size=60))
def test_one_endpoint_alone_passes_on_no_more_failures_in_a_row_than_the_policy_says(
    outcomes: list[Outcome],
) -> None:
    calls = calls_with(THREE, 1)
    in_a_row = 0
    for outcome in outcomes:
        state = calls.choose()
        if isinstance(state, Refusal):
            assert state is Refusal.BREAKER_OPEN
            assert in_a_row == 3
            break
        calls.call(outcome, 0.01)
        in_a_row = 0 if outcome is Outcome.SUCCESS else in_a_row + 1
        assert in_a_row <= 3


def test_a_breaker_outlives_snapshots_and_endpoints_of_the_same_address_and_port() -> None:
    calls = calls_with(THREE)
    eject(calls)
    calls.change(calls.port.policy, endpoints(5, [2, 1, 1, 1, 1]))
    assert "10.0.0.1" not in calls.counts(20)
    assert calls.state(0).endpoint.weight == 2
    assert calls.state(0).breaker.view(calls.now) == (
        Phase.OPEN,
        3,
        1,
        30.0,
        "consecutive-errors",
    )


def test_a_policy_without_a_breaker_lets_ejected_endpoints_in_again() -> None:
    calls = calls_with(THREE)
    eject(calls)
    calls.change(Policy(), endpoints(3))
    assert calls.counts(9)["10.0.0.1"] == 3


def test_a_subset_shares_the_breakers_of_its_port() -> None:
    members = endpoints(3)
    addresses = frozenset((each.address, each.port) for each in members[:2])
    subset = Subset("v1", addresses, Policy(breaker=THREE))
    calls = Calls(Policy(breaker=THREE), members, subsets=[subset])
    part = calls.traffic.upstream(calls.port, "v1")
    assert part is not None
    assert part.states() == calls.upstream.states()[:2]
    for _ in range(3):
        part.begin(calls.state(0))
        event = part.end(calls.state(0), Outcome.RESET, 0.1, calls.now)
    assert event is not None
    assert event.subset == "v1"
    assert "10.0.0.1" not in calls.counts(9)
