"""Which endpoint takes a flow."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.policies import Balance, Balancing, Policy
from edgemesh.model.services import Endpoint, ServicePort, Transport
from edgemesh.policy.balance import BalanceState, of_family, order


def port_with(
    count: int, balance: Balance = Balance.ROUND_ROBIN, number: int = 80, six: int = 0
) -> ServicePort:
    endpoints = [Endpoint(f"10.0.0.{i + 1}", 8080) for i in range(count)]
    endpoints += [Endpoint(f"fd00::{i + 1}", 8080) for i in range(six)]
    return ServicePort(
        "default",
        "web",
        "",
        Transport.TCP,
        number,
        policy=Policy(balancing=Balancing(balance)),
        endpoints=tuple(endpoints),
    )


@given(st.integers(1, 20), st.integers(1, 10), st.integers(1, 30))
def test_round_robin_is_exactly_even(count: int, rounds: int, attempts: int) -> None:
    port, state = port_with(count), BalanceState()
    firsts = Counter(
        order(port, port.endpoints, attempts, state, Random(0).random)[0]
        for _ in range(count * rounds)
    )
    assert set(firsts.values()) == {rounds}


@given(st.integers(1, 20), st.integers(1, 30), st.sampled_from(Balance), st.integers())
def test_no_endpoint_is_tried_twice_and_no_more_than_asked(
    count: int, attempts: int, balance: Balance, seed: int
) -> None:
    port, state = port_with(count, balance), BalanceState()
    tried = order(port, port.endpoints, attempts, state, Random(seed).random)
    if count > 1:
        assert len(tried) == min(attempts, count)
    assert len(set(tried)) == len(tried)


def test_random_reaches_every_endpoint_about_equally() -> None:
    port, state, random = port_with(5, Balance.RANDOM), BalanceState(), Random(7)
    firsts = Counter(order(port, port.endpoints, 1, state, random.random)[0] for _ in range(10_000))
    assert all(1850 < count < 2150 for count in firsts.values())


def test_round_robin_goes_on_evenly_when_the_endpoints_change() -> None:
    state, random = BalanceState(), Random(0)
    before, after = port_with(3), port_with(2)
    for _ in range(2):
        order(before, before.endpoints, 1, state, random.random)
    firsts = Counter(order(after, after.endpoints, 1, state, random.random)[0] for _ in range(10))
    assert set(firsts.values()) == {5}


def test_ports_have_their_own_positions() -> None:
    state, random = BalanceState(), Random(0)
    one, other = port_with(2), port_with(2, number=81)
    first = order(one, one.endpoints, 1, state, random.random)
    assert order(other, other.endpoints, 1, state, random.random) == first


def test_a_dual_stack_service_is_served_within_the_family_it_was_called_in() -> None:
    port, state = port_with(2, six=3), BalanceState()
    assert of_family(port, ipv6=False, state=state) == port.endpoints[:2]
    assert of_family(port, ipv6=True, state=state) == port.endpoints[2:]


def test_a_single_stack_service_is_served_to_callers_of_either_family() -> None:
    four, six = port_with(2), port_with(0, six=2)
    assert of_family(four, ipv6=True, state=BalanceState()) == four.endpoints
    assert of_family(six, ipv6=False, state=BalanceState()) == six.endpoints


def test_new_endpoints_are_seen_at_once() -> None:
    state = BalanceState()
    of_family(port_with(1), ipv6=False, state=state)
    assert len(of_family(port_with(2), ipv6=False, state=state)) == 2


def test_history_of_ports_that_are_gone_is_dropped() -> None:
    state, random = BalanceState(), Random(0)
    for number in (80, 81):
        port = port_with(2, number=number)
        order(port, of_family(port, ipv6=False, state=state), 1, state, random.random)
    state.forget(lambda key: key[3] == 81)
    assert {key[3] for key in state.positions} == {81} == {key[3] for key in state.families}
