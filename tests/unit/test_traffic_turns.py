"""Turns and chance: calls are spread as weights say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traffic_fixtures import Calls, endpoints

from edgemesh.model.flows import Refusal
from edgemesh.model.policies import Balance, Balancing, Policy
from edgemesh.model.services import Endpoint
from edgemesh.policy.traffic.calls import Call
from edgemesh.policy.traffic.endpoint_state import EndpointState

ALL = list(Balance)


def policy(algorithm: Balance, slow_start: float = 0.0) -> Policy:
    return Policy(balancing=Balancing(algorithm, slow_start_seconds=slow_start))


ROUND_ROBIN = policy(Balance.ROUND_ROBIN)


@given(count=st.integers(1, 9), rounds=st.integers(1, 5))
def test_round_robin_is_exactly_even(count: int, rounds: int) -> None:
    counts = Calls(ROUND_ROBIN, endpoints(count)).counts(count * rounds)
    assert set(counts.values()) == {rounds}
    assert len(counts) == count


@given(weights=st.lists(st.integers(1, 9), min_size=2, max_size=6), rounds=st.integers(1, 3))
def test_weighted_round_robin_is_exact_in_every_round(weights: list[int], rounds: int) -> None:
    members = endpoints(0, weights)
    calls = Calls(ROUND_ROBIN, members)
    for _ in range(rounds):
        counts = calls.counts(sum(weights))
        assert [counts[each.address] for each in members] == weights


def test_weighted_round_robin_spreads_the_turns_of_the_heavy() -> None:
    calls = Calls(ROUND_ROBIN, endpoints(0, [4, 2]))
    order = "".join(calls.chosen()[-1] for _ in range(12))
    assert "222" not in order
    assert "1111" not in order
    assert order.count("1") == 8


def test_whoever_stays_keeps_its_place_when_the_weights_of_others_change() -> None:
    calls = Calls(ROUND_ROBIN, endpoints(0, [3, 1]))
    for _ in range(50):
        calls.chosen()
    calls.change(ROUND_ROBIN, endpoints(0, [3, 1, 2]))
    counts = calls.counts(60)
    assert abs(counts["10.0.0.1"] - 30) <= 1
    assert abs(counts["10.0.0.2"] - 10) <= 1
    assert abs(counts["10.0.0.3"] - 20) <= 1


def test_turns_go_on_over_snapshots_that_change_nothing() -> None:
    calls = Calls(ROUND_ROBIN, endpoints(3))
    counts: Counter[str] = Counter()
    for _ in range(30):
        counts[calls.chosen()] += 1
        calls.change(ROUND_ROBIN, endpoints(3))
    assert set(counts.values()) == {10}


def test_turns_stay_in_range_when_endpoints_leave() -> None:
    calls = Calls(ROUND_ROBIN, endpoints(5))
    calls.counts(4)
    calls.change(ROUND_ROBIN, endpoints(2))
    assert set(calls.counts(10).values()) == {5}


@pytest.mark.parametrize("algorithm", [Balance.RANDOM, Balance.LEAST_REQUEST, *ALL[3:]])
def test_chance_is_even_within_a_few_percent(algorithm: Balance) -> None:
    counts = Calls(policy(algorithm), endpoints(5)).counts(10_000)
    assert all(1850 <= count <= 2150 for count in counts.values())
    assert len(counts) == 5


@pytest.mark.parametrize("algorithm", [Balance.RANDOM, Balance.LEAST_REQUEST, *ALL[3:]])
def test_chance_goes_by_weight(algorithm: Balance) -> None:
    counts = Calls(policy(algorithm), endpoints(0, [1, 3])).counts(4000)
    assert 900 <= counts["10.0.0.1"] <= 1100


@pytest.mark.parametrize("algorithm", ALL)
def test_an_endpoint_without_weight_gets_no_calls(algorithm: Balance) -> None:
    assert set(Calls(policy(algorithm), endpoints(0, [1, 0, 1])).counts(50)) == {
        "10.0.0.1",
        "10.0.0.3",
    }
    assert Calls(policy(algorithm), endpoints(0, [0])).choose() is Refusal.NO_ENDPOINT


@pytest.mark.parametrize("algorithm", ALL)
def test_without_endpoints_there_is_none_to_choose(algorithm: Balance) -> None:
    assert Calls(policy(algorithm), ()).choose() is Refusal.NO_ENDPOINT


@pytest.mark.parametrize("algorithm", ALL)
@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 3)])
def test_a_second_try_goes_to_another_endpoint_while_there_is_one(
    algorithm: Balance, weights: tuple[int, ...]
) -> None:
    calls = Calls(policy(algorithm), endpoints(0, weights))
    for number in range(50):
        tried: list[EndpointState] = []
        for _ in range(3):
            state = calls.choose(text=str(number), tried=tried)
            assert isinstance(state, EndpointState)
            assert state not in tried
            tried.append(state)
        assert calls.choose(text=str(number), tried=tried) in tried
        calls.choose(tried=tried[:1])


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (2, 1, 1, 1)])
def test_second_tries_are_spread_over_the_others(weights: tuple[int, ...]) -> None:
    calls = Calls(ROUND_ROBIN, endpoints(0, weights))
    bad = calls.state(0)
    counts: Counter[str] = Counter()
    for _ in range(300):
        state = calls.choose()
        if state is bad:
            state = calls.choose(tried=[bad])
        assert isinstance(state, EndpointState)
        counts[state.endpoint.address] += 1
    assert all(abs(count - 100) <= 1 for count in counts.values())


def test_the_turns_of_those_that_were_tried_are_passed_over() -> None:
    calls = Calls(ROUND_ROBIN, endpoints(4))
    states = calls.upstream.states()
    assert calls.choose(tried=states[:2]) is states[2]
    assert calls.choose() is states[3]


def test_of_two_that_chance_names_the_less_busy_one_is_taken() -> None:
    calls = Calls(policy(Balance.LEAST_REQUEST), endpoints(2))
    busy, idle = calls.upstream.states()
    busy.active = 5
    assert {calls.choose() for _ in range(50)} <= {busy, idle}
    assert calls.counts(100)["10.0.0.1"] < 40


def test_with_the_fewest_requests_open_counts_stay_level() -> None:
    calls = Calls(policy(Balance.LEAST_REQUEST), endpoints(4))
    for _ in range(400):
        state = calls.choose()
        assert isinstance(state, EndpointState)
        calls.upstream.begin(state)
    active = [state.active for state in calls.upstream.states()]
    assert max(active) - min(active) <= 5
    assert calls.upstream.requests == 400


def test_a_single_endpoint_is_always_chosen() -> None:
    for algorithm in ALL:
        assert Calls(policy(algorithm), endpoints(1)).counts(3) == {"10.0.0.1": 3}


def test_a_newcomer_starts_slowly_and_then_has_its_full_share() -> None:
    warming = policy(Balance.ROUND_ROBIN, slow_start=60.0)
    calls = Calls(warming, endpoints(1))
    calls.choose()
    calls.now += 100
    calls.change(warming, endpoints(2))
    assert calls.counts(110)["10.0.0.2"] == 10
    calls.now += 30
    assert abs(calls.counts(300)["10.0.0.2"] - 100) <= 1
    calls.now += 30
    assert abs(calls.counts(100)["10.0.0.2"] - 50) <= 1


def test_those_that_were_there_first_do_not_warm_up() -> None:
    counts = Calls(policy(Balance.RANDOM, slow_start=60.0), endpoints(0, [1, 1])).counts(10)
    assert sum(counts.values()) == 10


DUAL = (
    Endpoint("10.0.0.1", 80),
    Endpoint("fd00::1", 80),
    Endpoint("10.0.0.2", 80),
)


def test_a_dual_stack_service_is_served_in_the_family_it_is_called_in() -> None:
    calls = Calls(ROUND_ROBIN, DUAL)
    four = [calls.choose(ipv6=False) for _ in range(4)]
    six = [calls.choose(ipv6=True) for _ in range(4)]
    states = calls.upstream.states()
    assert four == [states[0], states[2]] * 2
    assert six == [states[1]] * 4


def test_a_single_stack_service_is_called_in_either_family_by_the_same_turns() -> None:
    calls = Calls(ROUND_ROBIN, endpoints(2))
    assert [calls.choose(ipv6=bool(turn % 2)) for turn in range(4)] == [
        *calls.upstream.states(),
        *calls.upstream.states(),
    ]


def test_a_service_may_become_dual_stack_and_single_stack_again() -> None:
    calls = Calls(ROUND_ROBIN, endpoints(2))
    for members in (DUAL, DUAL[:1], DUAL):
        calls.choose(ipv6=True)
        calls.change(ROUND_ROBIN, members)
    for ipv6 in (False, True):
        chosen = [calls.choose(ipv6=ipv6) for _ in range(4)]
        assert {state.endpoint.is_ipv6 for state in chosen if not isinstance(state, Refusal)} == {
            ipv6
        }


@pytest.mark.parametrize("algorithm", ALL)
@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 3)])
def test_a_preview_says_what_comes_next_and_takes_no_turn(
    algorithm: Balance, weights: tuple[int, ...]
) -> None:
    calls = Calls(policy(algorithm), endpoints(0, weights))
    call = Call("192.0.2.1", ipv6=False, hash_text="key")
    for _ in range(7):
        order = calls.upstream.preview(call, calls.now, 3)
        assert not isinstance(order, Refusal)
        assert set(order) == set(calls.upstream.states())
        if algorithm in {Balance.RANDOM, Balance.LEAST_REQUEST}:
            continue
        assert calls.upstream.preview(call, calls.now, 1) == order[:1]
        assert calls.choose(text="key") is order[0]


def test_a_preview_without_endpoints_says_why() -> None:
    calls = Calls(ROUND_ROBIN, ())
    call = Call("192.0.2.1", ipv6=False, hash_text=None)
    assert calls.upstream.preview(call, calls.now, 3) is Refusal.NO_ENDPOINT


def test_an_algorithm_that_changes_takes_hold_with_the_next_call() -> None:
    calls = Calls(policy(Balance.MAGLEV), endpoints(3))
    assert len({calls.chosen(text="same") for _ in range(9)}) == 1
    calls.change(ROUND_ROBIN, endpoints(3))
    assert len({calls.chosen(text="same") for _ in range(9)}) == 3


def test_a_changed_weight_takes_hold_with_the_next_call() -> None:
    calls = Calls(ROUND_ROBIN, endpoints(2))
    calls.choose()
    heavy = [replace(each, weight=3 - index) for index, each in enumerate(endpoints(2, [1, 1]))]
    calls.change(ROUND_ROBIN, heavy)
    assert calls.counts(50) == {"10.0.0.1": 30, "10.0.0.2": 20}
