"""Which endpoints of a Service port a call may go to, before one of them is picked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edgemesh.model.policies import Balancing, Locality, Policy
from edgemesh.policy.traffic.endpoint_state import EndpointState

# The least share of a new endpoint while it warms up, of its weight.
_LEAST_SHARE = 0.1
# Shares grow in so many steps.
_STEPS = 20


class Tier(NamedTuple):
    """Endpoints that are equally near.

    Args:
        known: all of them, not empty.
        usable: those that calls may go to.
    """

    known: tuple[EndpointState, ...]
    usable: tuple[EndpointState, ...]


def families(
    states: Sequence[EndpointState],
) -> tuple[tuple[EndpointState, ...], tuple[EndpointState, ...]]:
    """The endpoints for calls in IPv4, and those for calls in IPv6.

    A dual-stack Service is served within the family it was called in; a single-stack one may be
    called in either, since the proxy ends one connection and starts another.
    """
    four = tuple(state for state in states if not state.endpoint.is_ipv6)
    six = tuple(state for state in states if state.endpoint.is_ipv6)
    return four or six, six or four


def tiers(
    states: tuple[EndpointState, ...], locality: Locality, node: str, zone: str
) -> list[tuple[EndpointState, ...]]:
    """The endpoints by how near they are, the nearest first, without empty tiers.

    Args:
        states: of one family.
        locality: how far a call may go.
        node: where this is; "" when unknown, and then nothing is near.
        zone: of that node, "" when unknown.
    """
    if locality is Locality.ANY:
        return [states] if states else []
    here = tuple(state for state in states if node and state.endpoint.node == node)
    if locality is Locality.NODE_ONLY:
        return [here] if here else []
    if locality is Locality.PREFER_ZONE:
        here = ()
    near = tuple(
        state for state in states if zone and state.endpoint.zone == zone and state not in here
    )
    far = tuple(state for state in states if state not in here and state not in near)
    return [tier for tier in (here, near, far) if tier]


def usable_tiers(
    states: tuple[EndpointState, ...], policy: Policy, node: str, zone: str, now: float
) -> list[Tier]:
    """The same, with those of each tier that calls may go to now.

    Args:
        states: as above.
        policy: see there.
        node: as above.
        zone: as above.
        now: monotonic seconds; an ejection that is over becomes half-open by this.
    """
    near_to_far = tiers(states, policy.balancing.locality, node, zone)
    healthy = [tuple(one for one in tier if _is_healthy(one, policy, now)) for tier in near_to_far]
    if in_panic(sum(map(len, healthy)), sum(map(len, near_to_far)), policy.balancing):
        healthy = near_to_far
    return list(map(Tier, near_to_far, healthy))


def next_look(state: EndpointState, policy: Policy, now: float) -> float:
    """When time alone changes an endpoint's share or whether it takes calls; infinity for never."""
    grows = next_step(state, policy.balancing, now)
    if policy.breaker is None:
        return grows
    return min(grows, state.breaker.next_change())


def in_panic(healthy: int, known: int, balancing: Balancing) -> bool:
    """Whether so few endpoints are healthy that all are used, healthy or not."""
    return healthy * 100 < balancing.panic_percent * known


def share(state: EndpointState, balancing: Balancing, now: float) -> float:
    """An endpoint's weight, less while it is new."""
    weight = state.endpoint.weight
    window = balancing.slow_start_seconds
    age = now - state.since
    if age >= window:
        return weight
    step = int(age / window * _STEPS) / _STEPS
    return weight * max(step, _LEAST_SHARE)


def next_step(state: EndpointState, balancing: Balancing, now: float) -> float:
    """When an endpoint's share grows next; infinity when it is full."""
    window = balancing.slow_start_seconds
    if now - state.since >= window:
        return float("inf")
    return now + window / _STEPS


def _is_healthy(state: EndpointState, policy: Policy, now: float) -> bool:
    breaker = policy.breaker
    return state.probed_healthy and (breaker is None or state.breaker.takes_calls(breaker, now))
