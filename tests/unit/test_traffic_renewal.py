"""Connections to endpoints of other nodes are renewed where servers are limited."""

from __future__ import annotations

from random import Random

from edgemesh.model.policies import Policy, Quota, ServerLimits
from edgemesh.model.services import Endpoint, ServicePort, Snapshot, Transport
from edgemesh.policy.traffic.calls import Call
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.renewal import Renewal
from edgemesh.policy.traffic.traffic import Traffic

NEVER = float("inf")
FAR = Endpoint("10.0.0.2", 80, node="edge-2")
NEAR = Endpoint("10.0.0.1", 80, node="edge-1")
OUTSIDE = Endpoint("192.0.2.1", 80)
LIMITED = ServerLimits(quota=Quota(1, 1))


def states_of(*endpoints: Endpoint) -> list[EndpointState]:
    return [EndpointState(each, 0.0, lambda: None) for each in endpoints]


def renewed_at(renewal: Renewal, until: int) -> list[int]:
    (state,) = states_of(FAR)
    times = []
    for now in range(until):
        before = state.generation
        renewal.look([state], "edge-1", float(now))
        if state.generation != before:
            times.append(now)
    return times


def test_nothing_is_renewed_while_nothing_is_limited() -> None:
    renewal = Renewal(60.0)
    assert renewed_at(renewal, 100) == []
    renewal.set_limited(0.0, limited=True)
    renewal.set_limited(0.0, limited=False)
    assert renewed_at(renewal, 100) == []
    assert renewal.look([], "edge-1", 0.0) == NEVER


def test_soon_after_a_limit_appears_connections_are_renewed_often_and_later_seldom() -> None:
    renewal = Renewal(10.0)
    renewal.set_limited(0.0, limited=True)
    assert renewed_at(renewal, 40) == [0, 1, 3, 7, 15, 25, 35]


def test_another_limit_is_no_reason_to_begin_again() -> None:
    renewal = Renewal(8.0)
    renewal.set_limited(0.0, limited=True)
    assert renewed_at(renewal, 8) == [0, 1, 3, 7]
    renewal.set_limited(7.5, limited=True)
    assert renewal.look([], "edge-1", 7.5) == 15.0


def test_only_endpoints_of_other_nodes_are_concerned() -> None:
    renewal = Renewal(60.0)
    renewal.set_limited(0.0, limited=True)
    states = states_of(FAR, NEAR, OUTSIDE)
    renewal.look(states, "edge-1", 0.0)
    assert [state.generation for state in states] == [1, 0, 0]


def test_calls_look_whether_it_is_time() -> None:
    traffic = Traffic(Random(0).random, limited_connection_seconds=2.0)
    call = Call("10.9.0.9", ipv6=False, hash_text=None)
    port = ServicePort("default", "web", "", Transport.TCP, 80, endpoints=(FAR,))
    traffic.swap(Snapshot(node="edge-1", ports={port.key: port}), 0.0)
    upstream = traffic.upstream(port)
    assert upstream is not None
    (state,) = upstream.states()

    def generation(now: float) -> int:
        upstream.choose(call, now)
        return state.generation

    assert generation(100.0) == 0
    limited = ServicePort(
        "default", "web", "", Transport.TCP, 80, policy=Policy(server=LIMITED), endpoints=(FAR,)
    )
    traffic.swap(Snapshot(node="edge-1", ports={limited.key: limited}), 100.0)
    assert [generation(now) for now in (100.0, 100.9, 101.0, 102.9, 103.0, 104.9, 105.0)] == [
        *(1, 1, 2, 2, 3, 3, 4),
    ]
