"""How the calls of a Service port are to be spread by someone who does not ask for each of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from edgemesh.model.flows import Refusal
from edgemesh.model.policies import Policy
from edgemesh.policy.traffic import selection
from edgemesh.policy.traffic.endpoint_state import EndpointState

_INFINITY = float("inf")


class Shares(NamedTuple):
    """Endpoints that take calls now.

    Args:
        states: the nearest that are usable, not empty.
        shares: of each, above 0; what a new one lacks yet is taken off.
    """

    states: tuple[EndpointState, ...]
    shares: tuple[float, ...]


class Spread(NamedTuple):
    """One Service port at one moment.

    Args:
        four, six: for calls in IPv4 and in IPv6; why there is no endpoint. The endpoints are of
            the other family where there is none of the same.
        until: when to ask again though nothing has changed, monotonic seconds.
    """

    four: Shares | Refusal
    six: Shares | Refusal
    until: float


def spread(
    states: Iterable[EndpointState], policy: Policy, node: str, zone: str, now: float
) -> Spread:
    """How calls are spread now.

    Args:
        states: of all endpoints.
        policy: that holds for them.
        node: where calls start, "" when unknown.
        zone: of that node, "" when unknown.
        now: monotonic seconds; an ejection that is over becomes half-open by this.
    """
    weighed = [state for state in states if state.endpoint.weight > 0]
    four, six = (_shares(family, policy, node, zone, now) for family in selection.families(weighed))
    looks = (selection.next_look(state, policy, now) for state in weighed)
    return Spread(four, six, min(looks, default=_INFINITY))


def _shares(
    states: tuple[EndpointState, ...], policy: Policy, node: str, zone: str, now: float
) -> Shares | Refusal:
    tiers = selection.usable_tiers(states, policy, node, zone, now)
    for tier in tiers:
        if tier.usable:
            balancing = policy.balancing
            shares = tuple(selection.share(state, balancing, now) for state in tier.usable)
            return Shares(tier.usable, shares)
    return Refusal.BREAKER_OPEN if tiers else Refusal.NO_ENDPOINT
