"""What may be open at a time, and what becomes of state when snapshots change."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traffic_fixtures import Calls, endpoints

from edgemesh.model.flows import Refusal
from edgemesh.model.policies import (
    Balancing,
    EndpointRemoval,
    Limits,
    Policy,
    Retries,
    Subset,
)
from edgemesh.model.services import ServicePort, Snapshot, Transport
from edgemesh.policy.traffic.calls import Call, Outcome
from edgemesh.policy.traffic.endpoint_state import EndpointState

CALL = Call("192.0.2.1", ipv6=False, hash_text=None)


def calls_with(limits: Limits, count: int = 2) -> Calls:
    return Calls(Policy(limits=limits), endpoints(count))


def begin(calls: Calls) -> EndpointState:
    state = calls.choose()
    assert isinstance(state, EndpointState)
    calls.upstream.begin(state)
    return state


def test_beyond_the_number_of_requests_they_are_refused_until_one_ends() -> None:
    calls = calls_with(Limits(max_requests=2))
    first, _ = begin(calls), begin(calls)
    assert calls.choose() is Refusal.OVERFLOW
    calls.upstream.end(first, Outcome.SUCCESS, 0.1, calls.now)
    assert isinstance(calls.choose(), EndpointState)


def test_connections_are_no_requests() -> None:
    calls = calls_with(Limits(max_requests=1))
    begin(calls)
    assert isinstance(calls.upstream.choose_connection(CALL, calls.now), EndpointState)


def test_connections_are_limited_by_their_own_number() -> None:
    calls = calls_with(Limits(max_connections=2))
    upstream, state = calls.upstream, calls.state(0)
    upstream.open_connection(state)
    assert upstream.may_connect()
    upstream.open_connection(state)
    assert not upstream.may_connect()
    assert (upstream.connections, state.connections) == (2, 2)
    upstream.close_connection(state)
    assert upstream.may_connect()


def test_those_who_wait_for_a_connection_are_limited() -> None:
    upstream = calls_with(Limits(max_pending=1)).upstream
    assert upstream.may_wait()
    upstream.pending += 1
    assert not upstream.may_wait()


def test_nothing_is_limited_unless_the_policy_says_so() -> None:
    upstream = calls_with(Limits()).upstream
    upstream.connections = upstream.pending = upstream.requests = 10**6
    assert upstream.may_connect()
    assert upstream.may_wait()
    assert isinstance(upstream.choose(CALL, 0.0), EndpointState)


@given(requests=st.integers(0, 1000), percent=st.integers(0, 100))
def test_retries_have_a_part_of_the_open_requests_and_three_at_least(
    requests: int, percent: int
) -> None:
    calls = Calls(Policy(retries=Retries(budget_percent=percent)), endpoints(1))
    upstream = calls.upstream
    upstream.requests = requests
    while upstream.may_retry():
        upstream.retries += 1
    assert upstream.retries == max(requests * percent // 100, 3)


def test_the_budget_of_a_route_holds_for_its_requests() -> None:
    upstream = calls_with(Limits()).upstream
    upstream.requests = 100
    upstream.retries = 20
    assert not upstream.may_retry()
    assert upstream.may_retry(Retries(budget_percent=21))


def test_retries_are_limited_by_their_own_number_besides() -> None:
    upstream = calls_with(Limits(max_retries=1)).upstream
    upstream.requests = 1000
    assert upstream.may_retry()
    upstream.retries = 1
    assert not upstream.may_retry()


def test_a_call_whose_outcome_is_known_early_is_released_by_itself() -> None:
    calls = calls_with(Limits())
    state = begin(calls)
    assert calls.upstream.note(state, Outcome.SUCCESS, calls.now) is None
    assert (calls.upstream.requests, state.active) == (1, 1)
    calls.upstream.release(state, 60.0)
    assert (calls.upstream.requests, state.active, state.calls, state.seconds) == (0, 0, 1, 60.0)


def test_what_is_open_stays_counted_over_snapshots() -> None:
    calls = calls_with(Limits())
    upstream, state = calls.upstream, begin(calls)
    calls.change(Policy(limits=Limits(max_requests=1)), endpoints(3))
    assert calls.upstream is upstream
    assert calls.state(0) is state
    assert calls.choose() is Refusal.OVERFLOW


def test_an_endpoint_that_leaves_drains_and_is_itself_again_when_it_comes_back() -> None:
    calls = calls_with(Limits())
    state = calls.state(0)
    calls.upstream.begin(state)
    calls.change(Policy(), endpoints(2)[1:])
    drains = [state.draining]
    assert calls.counts(3) == {"10.0.0.2": 3}
    calls.change(Policy(), endpoints(2))
    drains.append(state.draining)
    assert drains == [True, False]
    assert calls.state(0) is state
    assert calls.counts(4) == {"10.0.0.1": 2, "10.0.0.2": 2}


@pytest.mark.parametrize("of", ["active", "connections"])
def test_a_drained_endpoint_is_forgotten_with_the_next_snapshot(of: str) -> None:
    calls = calls_with(Limits())
    state = calls.state(0)
    setattr(state, of, 1)
    calls.change(Policy(), endpoints(2)[1:])
    setattr(state, of, 0)
    calls.swap(calls.port)
    calls.change(Policy(), endpoints(2))
    assert calls.state(0) is not state


def test_a_port_that_is_gone_is_forgotten_and_its_endpoints_drain() -> None:
    calls = calls_with(Limits())
    upstream, state = calls.upstream, calls.state(0)
    calls.swap()
    assert state.draining
    assert list(calls.traffic.upstreams()) == []
    assert calls.upstream is not upstream


def test_other_ports_do_not_matter() -> None:
    calls = calls_with(Limits())
    upstream = calls.upstream
    other = ServicePort("default", "other", "", Transport.TCP, 80, endpoints=endpoints(1))
    calls.swap(calls.port, other)
    assert calls.traffic.upstream(other) is not upstream
    calls.swap(calls.port)
    assert list(calls.traffic.upstreams()) == [upstream]
    assert calls.upstream is upstream


def test_whoever_still_holds_an_older_port_is_answered_by_the_newer() -> None:
    calls = calls_with(Limits())
    old, upstream = calls.port, calls.upstream
    calls.change(Policy(limits=Limits(max_requests=1)), endpoints(3))
    assert calls.traffic.upstream(old) is upstream
    assert len(upstream.states()) == 3


def test_ports_that_no_snapshot_has_are_taken_as_they_are() -> None:
    calls = calls_with(Limits())
    calls.swap()
    calls.traffic.upstream(calls.port)
    more = replace(calls.port, endpoints=endpoints(5))
    upstream = calls.traffic.upstream(more)
    assert upstream is calls.traffic.upstream(more)
    assert upstream is not None
    assert len(upstream.states()) == 5


def test_endpoints_that_are_named_twice_count_once() -> None:
    calls = Calls(Policy(), endpoints(2) * 2)
    state = calls.state(0)
    calls.change(Policy(), endpoints(2) * 3)
    assert calls.state(0) is state
    assert calls.counts(4) == {"10.0.0.1": 2, "10.0.0.2": 2}


V2 = Subset(
    "v2",
    frozenset({("10.0.0.2", 80), ("10.9.9.9", 80)}),
    Policy(balancing=Balancing(), limits=Limits(max_requests=1)),
)


def test_a_subset_has_its_part_of_the_endpoints_and_a_policy_of_its_own() -> None:
    calls = Calls(Policy(), endpoints(3), subsets=[V2])
    part = calls.traffic.upstream(calls.port, "v2")
    assert part is not None
    assert (part.subset, part.policy, part.states()) == ("v2", V2.policy, (calls.state(1),))
    assert part.choose(CALL, calls.now) is calls.state(1)
    part.begin(calls.state(1))
    assert part.choose(CALL, calls.now) is Refusal.OVERFLOW
    assert isinstance(calls.choose(), EndpointState)
    assert set(calls.traffic.upstreams()) == {part, calls.upstream}


def test_a_subset_that_is_not_there_has_no_upstream() -> None:
    calls = Calls(Policy(), endpoints(3), subsets=[V2])
    assert calls.traffic.upstream(calls.port, "v3") is None
    calls.traffic.upstream(calls.port, "v2")
    calls.subsets = {}
    calls.change(Policy(), endpoints(3))
    assert calls.traffic.upstream(calls.port, "v2") is None
    assert list(calls.traffic.upstreams()) == []


def test_connections_that_nobody_asked_for_count_while_they_are_open() -> None:
    calls = calls_with(Limits(max_connections=3))
    state = calls.state(0)
    calls.upstream.count_unseen(state, begun=5, ended=2)
    assert not calls.upstream.may_connect()
    assert (state.active, state.connections, state.calls) == (3, 3, 2)
    calls.upstream.count_unseen(state, begun=0, ended=3)
    assert calls.upstream.may_connect()
    assert state.is_idle


def test_a_swap_names_endpoints_whose_connections_are_to_be_closed() -> None:
    close = Policy(on_endpoint_removed=EndpointRemoval.CLOSE)
    calls = Calls(close, endpoints(2))
    calls.choose()
    port = replace(calls.port, endpoints=endpoints(2)[1:])
    snapshot = Snapshot(ports={port.key: port})
    assert calls.traffic.swap(snapshot, calls.now) == {(port.key, ("10.0.0.1", 80))}
    kept = replace(port, endpoints=(), policy=Policy())
    assert not calls.traffic.swap(Snapshot(ports={kept.key: kept}), calls.now)
