"""Locality: calls stay near while those that are near can take them."""

from __future__ import annotations

import pytest
from traffic_fixtures import Calls

from edgemesh.model.flows import Refusal
from edgemesh.model.policies import Balancing, Breaker, Locality, Policy, ServerLimits
from edgemesh.model.services import Endpoint
from edgemesh.policy.traffic.calls import Outcome

HERE = Endpoint("10.0.0.1", 80, node="edge-1", zone="east")
NEAR = Endpoint("10.0.0.2", 80, node="edge-2", zone="east")
FAR = Endpoint("10.0.0.3", 80, node="edge-3", zone="west")
LOST = Endpoint("10.0.0.4", 80)
ALL = (FAR, HERE, LOST, NEAR)


def policy(locality: Locality, panic: int = 0, server: ServerLimits | None = None) -> Policy:
    return Policy(
        balancing=Balancing(locality=locality, panic_percent=panic),
        breaker=Breaker(consecutive_errors=1, max_ejection_percent=100),
        server=server or ServerLimits(),
    )


def calls_from(
    locality: Locality, node: str = "edge-1", zone: str = "east", panic: int = 0
) -> Calls:
    return Calls(policy(locality, panic), ALL, node=node, zone=zone)


def eject(calls: Calls, *gone: Endpoint) -> None:
    for index, state in enumerate(calls.upstream.states()):
        if state.endpoint in gone:
            calls.call_at(index, Outcome.RESET)


@pytest.mark.parametrize(
    ("locality", "node", "zone", "expected"),
    [
        (Locality.ANY, "edge-1", "east", {HERE, NEAR, FAR, LOST}),
        (Locality.PREFER_NODE, "edge-1", "east", {HERE}),
        (Locality.PREFER_NODE, "edge-9", "east", {HERE, NEAR}),
        (Locality.PREFER_NODE, "edge-9", "north", {HERE, NEAR, FAR, LOST}),
        (Locality.PREFER_NODE, "", "", {HERE, NEAR, FAR, LOST}),
        (Locality.PREFER_ZONE, "edge-1", "east", {HERE, NEAR}),
        (Locality.PREFER_ZONE, "edge-1", "", {HERE, NEAR, FAR, LOST}),
        (Locality.NODE_ONLY, "edge-1", "east", {HERE}),
    ],
)
def test_calls_go_to_the_nearest(
    locality: Locality, node: str, zone: str, expected: set[Endpoint]
) -> None:
    counts = calls_from(locality, node, zone).counts(12)
    assert set(counts) == {each.address for each in expected}


def test_calls_go_further_when_the_near_ones_are_out_and_come_back() -> None:
    calls = calls_from(Locality.PREFER_NODE)
    eject(calls, HERE)
    assert set(calls.counts(5)) == {NEAR.address}
    eject(calls, NEAR)
    assert set(calls.counts(6)) == {FAR.address, LOST.address}
    calls.now += 30
    eject(calls, NEAR)
    index = [state.endpoint for state in calls.upstream.states()].index(HERE)
    calls.call_at(index, Outcome.SUCCESS)
    assert set(calls.counts(5)) == {HERE.address}


def test_a_second_try_goes_further_when_the_near_one_has_failed() -> None:
    calls = calls_from(Locality.PREFER_NODE)
    first = calls.choose()
    assert not isinstance(first, Refusal)
    second = calls.choose(tried=[first])
    assert not isinstance(second, Refusal)
    assert second.endpoint == NEAR


def test_calls_that_must_stay_on_the_node_are_refused_when_they_cannot() -> None:
    assert calls_from(Locality.NODE_ONLY, node="edge-9").choose() is Refusal.NO_ENDPOINT
    calls = calls_from(Locality.NODE_ONLY)
    eject(calls, HERE)
    assert calls.choose() is Refusal.BREAKER_OPEN


def test_calls_go_further_while_this_node_has_all_that_it_may_have() -> None:
    full = policy(Locality.PREFER_NODE, server=ServerLimits(max_concurrent=1))
    calls = Calls(full, ALL, node="edge-1", zone="east")
    assert set(calls.counts(3)) == {HERE.address}
    server = calls.traffic.server(calls.port)
    assert server is not None
    server.admit("", calls.now)
    assert set(calls.counts(3)) == {NEAR.address}
    server.release()
    assert set(calls.counts(3)) == {HERE.address}


def test_calls_queue_here_when_there_is_nowhere_else_to_go() -> None:
    full = policy(Locality.PREFER_NODE, server=ServerLimits(max_concurrent=1))
    calls = Calls(full, (HERE,), node="edge-1", zone="east")
    server = calls.traffic.server(calls.port)
    assert server is not None
    server.admit("", calls.now)
    assert set(calls.counts(3)) == {HERE.address}


def test_in_a_panic_all_are_used_whether_they_are_well_or_not() -> None:
    calls = calls_from(Locality.ANY, panic=60)
    eject(calls, HERE)
    assert set(calls.counts(6)) == {NEAR.address, FAR.address, LOST.address}
    eject(calls, NEAR)
    assert set(calls.counts(8)) == {each.address for each in ALL}


def test_an_endpoint_that_fails_its_health_checks_gets_no_calls_until_it_passes() -> None:
    calls = calls_from(Locality.ANY)
    state = calls.state(0)
    state.probed_healthy = False
    assert FAR.address not in calls.counts(6)
    for other in calls.upstream.states():
        other.probed_healthy = False
    assert calls.choose() is Refusal.BREAKER_OPEN
    state.probed_healthy = True
    assert set(calls.counts(3)) == {FAR.address}


def test_where_calls_start_may_change() -> None:
    calls = calls_from(Locality.PREFER_NODE)
    assert set(calls.counts(3)) == {HERE.address}
    calls.node, calls.zone = "edge-3", "west"
    calls.swap(calls.port)
    assert set(calls.counts(3)) == {FAR.address}
