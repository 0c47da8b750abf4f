"""How calls are spread by who does not ask for each: as choosing one by one would do it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traffic_fixtures import Calls, endpoints

from edgemesh.model.flows import Refusal
from edgemesh.model.policies import Balance, Balancing, Breaker, Locality, Policy
from edgemesh.model.services import Endpoint, ServicePort
from edgemesh.policy.traffic.calls import Outcome
from edgemesh.policy.traffic.spread import Shares, Spread

RANDOM = Policy(balancing=Balancing(algorithm=Balance.RANDOM, locality=Locality.PREFER_NODE))
BREAKER = Policy(breaker=Breaker(consecutive_errors=1, max_ejection_percent=100))


def spread_of(calls: Calls) -> Spread:
    return calls.traffic.spread(calls.port, calls.now)


def shares_of(calls: Calls) -> dict[str, float]:
    four = spread_of(calls).four
    assert isinstance(four, Shares)
    return {
        state.endpoint.address: share for state, share in zip(four.states, four.shares, strict=True)
    }


MEMBERS = st.lists(
    st.builds(
        lambda last, node, weight: Endpoint(f"10.0.0.{last}", 80, node=node, weight=weight),
        st.integers(1, 254),
        st.sampled_from(["here", "there"]),
        st.integers(0, 5),
    ),
    max_size=6,
    unique_by=lambda each: each.address,
)


@given(MEMBERS)
def test_spread_goes_to_those_that_are_chosen_one_by_one(members: list[Endpoint]) -> None:
    calls = Calls(RANDOM, members, node="here")
    four = spread_of(calls).four
    if isinstance(four, Refusal):
        assert calls.choose() is four
        return
    chosen = set(calls.counts(300))
    assert chosen <= {state.endpoint.address for state in four.states}
    assert sum(four.shares) == sum(state.endpoint.weight for state in four.states)


@given(MEMBERS)
def test_it_is_the_same_whether_a_port_was_called_or_not(members: list[Endpoint]) -> None:
    calls = Calls(RANDOM, members, node="here")
    before = spread_of(calls)
    calls.choose()
    after = spread_of(calls)
    assert repr(_plain(before)) == repr(_plain(after))


def _plain(spread: Spread) -> list[object]:
    return [
        one if isinstance(one, Refusal) else ([each.endpoint for each in one.states], one.shares)
        for one in (spread.four, spread.six)
    ]


def test_a_port_that_has_nothing_to_remember_is_not_remembered() -> None:
    calls = Calls(RANDOM, endpoints(2))
    spread_of(calls)
    assert list(calls.traffic.upstreams()) == []


@pytest.mark.parametrize(
    "policy", [BREAKER, Policy(balancing=Balancing(slow_start_seconds=10.0))], ids=str
)
def test_a_port_whose_endpoints_have_a_history_is_remembered(policy: Policy) -> None:
    calls = Calls(policy, endpoints(2))
    spread_of(calls)
    assert len(list(calls.traffic.upstreams())) == 1


def test_an_ejected_endpoint_takes_nothing_until_its_time_has_come() -> None:
    calls = Calls(BREAKER, endpoints(2))
    calls.call_at(0, Outcome.RESET)
    assert shares_of(calls) == {"10.0.0.2": 1}
    assert spread_of(calls).until == calls.now + 30.0
    calls.now += 30.0
    assert shares_of(calls) == {"10.0.0.1": 1, "10.0.0.2": 1}


def test_when_all_are_ejected_calls_are_refused_for_it() -> None:
    calls = Calls(BREAKER, endpoints(2))
    calls.call_at(0, Outcome.RESET)
    calls.call_at(1, Outcome.RESET)
    assert spread_of(calls)[:2] == (Refusal.BREAKER_OPEN, Refusal.BREAKER_OPEN)


def test_a_newcomer_gets_its_share_step_by_step() -> None:
    policy = Policy(balancing=Balancing(slow_start_seconds=20.0))
    calls = Calls(policy, endpoints(1))
    spread_of(calls)
    calls.change(policy, endpoints(2))
    assert shares_of(calls) == {"10.0.0.1": 1, "10.0.0.2": 0.1}
    assert spread_of(calls).until == calls.now + 1.0
    calls.now += 10.0
    assert shares_of(calls) == {"10.0.0.1": 1, "10.0.0.2": 0.5}


def test_who_listens_is_told_of_endpoints_that_turn() -> None:
    calls = Calls(BREAKER, endpoints(2))
    told: list[ServicePort] = []
    end = calls.traffic.on_turn(told.append)
    calls.call_at(0, Outcome.RESET)
    assert told == [calls.port]
    calls.state(1).probed_healthy = False
    assert told == [calls.port, calls.port]
    end()
    calls.state(1).probed_healthy = True
    assert len(told) == 2


def test_only_the_nearest_take_calls() -> None:
    near, far = endpoints(2)
    calls = Calls(RANDOM, [replace(near, node="here"), far], node="here")
    assert shares_of(calls).keys() == {near.address}
    calls.change(RANDOM, [far])
    assert shares_of(calls).keys() == {far.address}
