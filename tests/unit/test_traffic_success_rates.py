"""Endpoints that fail much more often than the others are ejected, an interval at a time."""

from __future__ import annotations

import pytest
from traffic_fixtures import Calls, endpoints

from edgemesh.model.policies import Breaker, Policy
from edgemesh.policy.traffic.breaker import Phase
from edgemesh.policy.traffic.calls import Outcome
from edgemesh.policy.traffic.events import Event

RATES = Breaker(
    consecutive_errors=0,
    success_rate_minimum_hosts=5,
    success_rate_request_volume=10,
    success_rate_stdev_factor=1.5,
    max_ejection_percent=100,
)


def calls_with(breaker: Breaker = RATES, count: int = 6) -> Calls:
    return Calls(Policy(breaker=breaker), endpoints(count))


def interval(calls: Calls, *failures: int, volume: int = 10) -> list[Event]:
    """An interval of ``volume`` calls to each endpoint, and a call that ends it.

    So many of them fail, of each endpoint in turn.
    """
    events = []
    for index in range(len(calls.upstream.states())):
        failed = failures[index] if index < len(failures) else 0
        for number in range(volume):
            outcome = Outcome.SERVER_ERROR if number < failed else Outcome.SUCCESS
            events.append(calls.call_at(index, outcome))
    calls.now += RATES.interval_seconds
    last = len(calls.upstream.states()) - 1
    events += [calls.call_at(last, Outcome.SUCCESS) for _ in range(3)]
    return [event for event in events if event is not None]


def test_the_one_that_fails_most_is_ejected_at_the_end_of_the_interval() -> None:
    calls = calls_with()
    (event,) = interval(calls, 0, 9)
    assert (event.endpoint.address, event.reason) == ("10.0.0.2", "success-rate")
    assert "10.0.0.2" not in calls.counts(20)


def test_several_at_once_are_told_one_by_one() -> None:
    calls = calls_with(count=12)
    events = interval(calls, 9, 9)
    assert [event.endpoint.address for event in events] == ["10.0.0.1", "10.0.0.2"]


def test_endpoints_that_fail_alike_are_left_alone() -> None:
    assert interval(calls_with(), 5, 5, 5, 5, 5, 5) == []


@pytest.mark.parametrize(("count", "volume"), [(4, 10), (6, 9)])
def test_too_few_endpoints_or_too_few_calls_say_nothing(count: int, volume: int) -> None:
    assert interval(calls_with(count=count), 0, 9, volume=volume) == []


def test_what_happened_long_ago_says_nothing() -> None:
    calls = calls_with()
    for index in range(6):
        for _ in range(10):
            calls.call_at(index, Outcome.SERVER_ERROR if index == 1 else Outcome.SUCCESS)
    calls.now += 100
    assert calls.call_at(0, Outcome.SUCCESS) is None


def test_each_interval_begins_anew() -> None:
    calls = calls_with()
    interval(calls)
    assert interval(calls, 0, 0, 9) != []


def test_calls_that_were_given_up_do_not_count() -> None:
    calls = calls_with()
    for index in range(6):
        for _ in range(30):
            calls.call_at(index, Outcome.CANCELLED if index == 1 else Outcome.SUCCESS)
    calls.now += 10
    assert calls.call_at(0, Outcome.SUCCESS) is None


def test_one_that_is_out_already_is_not_ejected_again() -> None:
    breaker = Breaker(
        consecutive_errors=10,
        success_rate_request_volume=10,
        success_rate_stdev_factor=1.0,
        max_ejection_percent=100,
    )
    calls = calls_with(breaker)
    events = interval(calls, 0, 10)
    assert [event.reason for event in events] == ["consecutive-errors"]
    # What was under way comes in when it is out, and makes it an outlier, too.
    for _ in range(10):
        assert calls.call_at(1, Outcome.SERVER_ERROR) is None
    assert interval(calls) == []
    assert calls.state(1).breaker.view(calls.now).ejections == 1


def test_rates_are_compared_while_the_policy_asks_for_it() -> None:
    calls = calls_with(Breaker(consecutive_errors=0))
    assert interval(calls, 0, 9) == []
    calls.change(Policy(breaker=RATES), endpoints(6))
    calls.change(Policy(breaker=RATES), endpoints(6))
    assert len(interval(calls, 0, 9)) == 1
    calls.change(Policy(breaker=Breaker(consecutive_errors=0)), endpoints(6))
    assert interval(calls, 0, 0, 9) == []
    assert calls.state(2).breaker.view(calls.now).phase is Phase.CLOSED
