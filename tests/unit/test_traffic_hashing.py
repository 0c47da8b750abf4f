"""Consistent hashing, affinity and bounded load: calls that belong together stay together."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traffic_fixtures import Calls, endpoints

from edgemesh.model.flows import Refusal
from edgemesh.model.policies import Balance, Balancing, Breaker, Policy
from edgemesh.policy.traffic.calls import Call, Outcome
from edgemesh.policy.traffic.endpoint_state import EndpointState

BOTH = [Balance.RING_HASH, Balance.MAGLEV]
KEYS = [f"user-{number}" for number in range(2000)]


def policy(algorithm: Balance, bound: int = 0, ring_size: int = 1024) -> Policy:
    balancing = Balancing(algorithm, bounded_load_percent=bound, ring_size=ring_size)
    return Policy(balancing=balancing, breaker=Breaker(consecutive_errors=1))


def homes(calls: Calls) -> dict[str, str]:
    return {key: calls.chosen(text=key) for key in KEYS}


@pytest.mark.parametrize("algorithm", BOTH)
def test_a_key_always_goes_to_the_same_endpoint(algorithm: Balance) -> None:
    members = endpoints(7)
    first = homes(Calls(policy(algorithm), members, seed=1))
    assert homes(Calls(policy(algorithm), members[::-1], seed=2)) == first


@pytest.mark.parametrize("algorithm", BOTH)
def test_keys_are_spread_evenly(algorithm: Balance) -> None:
    counts = Counter(homes(Calls(policy(algorithm), endpoints(5))).values())
    assert len(counts) == 5
    assert all(300 <= count <= 500 for count in counts.values())


@pytest.mark.parametrize("algorithm", BOTH)
def test_keys_are_spread_by_weight(algorithm: Balance) -> None:
    counts = Counter(homes(Calls(policy(algorithm), endpoints(0, [1, 3]))).values())
    assert 400 <= counts["10.0.0.1"] <= 600


@settings(max_examples=20, deadline=None)
@given(count=st.integers(2, 8), gone=st.integers(0, 7))
def test_with_a_ring_only_the_keys_of_an_endpoint_that_leaves_move(count: int, gone: int) -> None:
    members = endpoints(count)
    left = members[gone % count]
    calls = Calls(policy(Balance.RING_HASH), members)
    before = homes(calls)
    calls.change(policy(Balance.RING_HASH), [each for each in members if each is not left])
    after = homes(calls)
    moved = {key for key in KEYS if before[key] != after[key]}
    assert moved == {key for key in KEYS if before[key] == left.address}


@settings(max_examples=20, deadline=None)
@given(count=st.integers(2, 12), gone=st.integers(0, 11))
def test_with_maglev_about_one_nth_of_the_keys_moves(count: int, gone: int) -> None:
    members = endpoints(count)
    left = members[gone % count]
    calls = Calls(policy(Balance.MAGLEV), members)
    before = homes(calls)
    calls.change(policy(Balance.MAGLEV), [each for each in members if each is not left])
    after = homes(calls)
    moved = {key for key in KEYS if before[key] != after[key]}
    own = {key for key in KEYS if before[key] == left.address}
    assert own <= moved
    assert len(moved - own) <= len(KEYS) * 0.05


@pytest.mark.parametrize("algorithm", BOTH)
def test_only_the_keys_of_an_ejected_endpoint_move_and_they_come_back(algorithm: Balance) -> None:
    calls = Calls(policy(algorithm), endpoints(6))
    before = homes(calls)
    calls.call_at(2, Outcome.RESET)
    during = homes(calls)
    moved = {key for key in KEYS if before[key] != during[key]}
    assert moved == {key for key in KEYS if before[key] == "10.0.0.3"}
    assert len({during[key] for key in moved}) == 5
    calls.now += 30
    calls.call_at(2, Outcome.SUCCESS)
    assert homes(calls) == before


@pytest.mark.parametrize("algorithm", BOTH)
def test_all_keys_find_the_only_endpoint_that_is_left(algorithm: Balance) -> None:
    alone = Breaker(consecutive_errors=1, max_ejection_percent=100)
    calls = Calls(Policy(balancing=Balancing(algorithm), breaker=alone), endpoints(300))
    for index in range(299):
        calls.call_at(index, Outcome.RESET)
    assert set(homes(calls).values()) == {endpoints(300)[-1].address}


@pytest.mark.parametrize("algorithm", BOTH)
def test_calls_without_a_key_are_spread_by_chance(algorithm: Balance) -> None:
    counts = Calls(policy(algorithm), endpoints(4)).counts(400)
    assert len(counts) == 4


@pytest.mark.parametrize("algorithm", BOTH)
@pytest.mark.parametrize("count", [1, 40, 140])
def test_small_and_large_sets_of_endpoints_all_get_keys(algorithm: Balance, count: int) -> None:
    assert len(set(homes(Calls(policy(algorithm), endpoints(count))).values())) == count


def test_a_ring_of_few_points_is_as_small_as_it_was_asked_to_be() -> None:
    calls = Calls(policy(Balance.RING_HASH, ring_size=1), endpoints(2))
    assert set(homes(calls).values()) <= {"10.0.0.1", "10.0.0.2"}


@pytest.mark.parametrize("algorithm", BOTH)
@settings(max_examples=30, deadline=None)
@given(count=st.integers(2, 6), bound=st.integers(1, 200), number=st.integers(1, 60))
def test_bounded_load_holds_whatever_the_keys(
    algorithm: Balance, count: int, bound: int, number: int
) -> None:
    calls = Calls(policy(algorithm, bound), endpoints(count))
    for _ in range(number):
        state = calls.choose(text="the same key")
        assert isinstance(state, EndpointState)
        calls.upstream.begin(state)
    active = [state.active for state in calls.upstream.states()]
    assert max(active) <= -(-max(bound, 100) * number // (100 * count)) + 1


@pytest.mark.parametrize("algorithm", BOTH)
def test_a_key_goes_home_while_there_is_room(algorithm: Balance) -> None:
    bounded, free = (Calls(policy(algorithm, bound), endpoints(4)) for bound in (150, 0))
    assert homes(bounded) == homes(free)


@pytest.mark.parametrize("algorithm", BOTH)
def test_a_second_try_is_made_though_all_others_are_full(algorithm: Balance) -> None:
    calls = Calls(policy(algorithm, 100), endpoints(3))
    home = calls.choose(text="key")
    assert isinstance(home, EndpointState)
    for state in calls.upstream.states():
        state.active = 0 if state is home else 9
    other = calls.choose(text="key", tried=[home])
    assert isinstance(other, EndpointState)
    assert other is not home


AFFINITY = Policy(
    balancing=Balancing(Balance.ROUND_ROBIN, affinity_seconds=100),
    breaker=Breaker(consecutive_errors=1),
)


def test_a_client_stays_with_its_endpoint_until_it_was_silent_for_too_long() -> None:
    calls = Calls(AFFINITY, endpoints(3))
    assert calls.chosen("a") == calls.chosen("a") == "10.0.0.1"
    assert calls.chosen("b") == "10.0.0.2"
    for _ in range(5):
        calls.now += 100
        assert calls.chosen("a") == "10.0.0.1"
    calls.now += 101
    assert calls.chosen("a") == "10.0.0.3"


def test_a_client_leaves_an_endpoint_that_is_ejected_or_gone() -> None:
    calls = Calls(AFFINITY, endpoints(3))
    assert calls.chosen("a") == "10.0.0.1"
    calls.call_at(0, Outcome.RESET)
    second = calls.chosen("a")
    assert second == calls.chosen("a") != "10.0.0.1"
    left = [each for each in endpoints(3) if each.address != second]
    calls.change(AFFINITY, left)
    assert calls.chosen("a") not in {"10.0.0.1", second}


def test_a_client_stays_where_its_second_try_went() -> None:
    calls = Calls(AFFINITY, endpoints(3))
    first = calls.choose("a")
    assert isinstance(first, EndpointState)
    second = calls.choose("a", tried=[first])
    assert calls.choose("a") is second


def test_affinity_survives_a_change_of_other_endpoints() -> None:
    calls = Calls(AFFINITY, endpoints(3))
    assert calls.chosen("b") == "10.0.0.1"
    calls.change(AFFINITY, endpoints(4))
    assert calls.chosen("b") == "10.0.0.1"


def test_the_client_that_called_longest_ago_is_forgotten_first() -> None:
    calls = Calls(AFFINITY, endpoints(2), max_affinity_clients=2)
    assert calls.chosen("a") == "10.0.0.1"
    assert calls.chosen("b") == "10.0.0.2"
    assert calls.chosen("a") == "10.0.0.1"
    assert calls.chosen("c") == "10.0.0.1"
    assert calls.chosen("a") == "10.0.0.1"
    assert calls.chosen("b") == "10.0.0.2"


def test_a_preview_names_a_clients_endpoint_first() -> None:
    calls = Calls(AFFINITY, endpoints(3))
    calls.chosen("x")
    calls.chosen("a")
    for client, first in (("a", calls.state(1)), ("nobody", calls.state(2))):
        order = calls.upstream.preview(Call(client, ipv6=False, hash_text=None), calls.now, 3)
        assert not isinstance(order, Refusal)
        assert order[0] is first
        assert len(order) == 3
