"""The endpoints that calls in one address family may go to, worked out when they change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from edgemesh.model.flows import Refusal
from edgemesh.model.policies import Balance, Balancing, Locality, Policy
from edgemesh.policy.traffic import selection
from edgemesh.policy.traffic.affinity import Affinity
from edgemesh.policy.traffic.calls import Call
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.hashing import MaglevHash, RingHash
from edgemesh.policy.traffic.pickers import (
    LeastRequest,
    Members,
    Picker,
    Random,
    RoundRobin,
    WeightedRoundRobin,
)
from edgemesh.policy.traffic.server import ServerState

_INFINITY = float("inf")
_KINDS: Mapping[Balance, Callable[[Callable[[], float]], Picker]] = {
    Balance.RANDOM: Random,
    Balance.LEAST_REQUEST: LeastRequest,
    Balance.RING_HASH: RingHash,
    Balance.MAGLEV: MaglevHash,
}


class Place(NamedTuple):
    """Where calls start.

    Args:
        node, zone: "" when unknown.
        server: what this node lets through to its own endpoints; None when that is everything.
    """

    node: str
    zone: str
    server: ServerState | None


class _Tier(NamedTuple):
    """Endpoints that are equally near."""

    usable: tuple[EndpointState, ...]
    picker: Picker


class Chooser:
    """Picks within the nearest tier that has usable endpoints.

    Attributes:
        pick: the endpoint of a call, or why there is none; replaced by `update`.
    """

    def __init__(self, random: Callable[[], float], affinity: Affinity) -> None:
        """Know no endpoints.

        Args:
            random: gives a number in [0, 1).
            affinity: where clients' last calls went.
        """
        self._random = random
        self._affinity = affinity
        self._affinity_seconds = 0
        self._usable: frozenset[EndpointState] = frozenset()
        self._refusal = Refusal.NO_ENDPOINT
        self._tiers: list[_Tier] = []
        self._pickers: dict[int, Picker] = {}
        self._server: ServerState | None = None
        self._pick_anew: Callable[[Call, float], EndpointState]
        self.pick: Callable[[Call, float], EndpointState | Refusal] = self._refuse

    def update(
        self, states: tuple[EndpointState, ...], policy: Policy, place: Place, now: float
    ) -> float:
        """Choose among these from now on; when to update again, though nothing has changed."""
        balancing = policy.balancing
        near_to_far = selection.usable_tiers(states, policy, place.node, place.zone, now)
        self._refusal = Refusal.BREAKER_OPEN if near_to_far else Refusal.NO_ENDPOINT
        self._usable = frozenset(state for tier in near_to_far for state in tier.usable)
        self._tiers = []
        for level, (known, usable) in enumerate(near_to_far):
            if usable:
                picker = self._picker(level, known, usable, balancing, now)
                self._tiers.append(_Tier(usable, picker))
        self._server = place.server if _is_here(self._tiers, balancing, place) else None
        self._affinity_seconds = balancing.affinity_seconds
        self._set_pick()
        looks = (
            selection.next_look(state, policy, now) for tier in near_to_far for state in tier.known
        )
        return min(looks, default=_INFINITY)

    def _set_pick(self) -> None:
        """Settle what can be settled before there is a call."""
        self.pick = self._refuse
        if not self._tiers:
            return
        self._pick_anew = self._tiers[0].picker.pick
        if self._server is not None and len(self._tiers) > 1:
            self._pick_anew = self._pick_with_spill
        self.pick = self._pick_with_affinity if self._affinity_seconds else self._pick_anew

    def _picker(
        self,
        level: int,
        known: tuple[EndpointState, ...],
        usable: tuple[EndpointState, ...],
        balancing: Balancing,
        now: float,
    ) -> Picker:
        """The picker of one tier, which goes on where it was when it is of the same kind."""
        shares = tuple(selection.share(state, balancing, now) for state in usable)
        members = Members(usable, shares, known, balancing)
        kind = _kind(balancing, members)
        picker = self._pickers.get(level)
        if picker is None or type(picker) is not kind:
            picker = self._pickers[level] = kind(self._random)
        picker.assign(members)
        return picker

    def pick_other(
        self, call: Call, now: float, tried: Sequence[EndpointState]
    ) -> EndpointState | Refusal:
        """Pick one that was not tried; one of those only if no other is left."""
        for tier in self._tiers:
            allowed = [state for state in tier.usable if state not in tried]
            if allowed:
                state = tier.picker.pick_among(call, allowed)
                if self._affinity_seconds:
                    self._affinity.remember(call.client, state, now)
                return state
        return self.pick(call, now)

    def preview(self, call: Call, now: float, attempts: int) -> tuple[EndpointState, ...] | Refusal:
        """Which endpoints a call would try, in order, without counting as one."""
        if not self._tiers:
            return self._refusal
        order: list[EndpointState] = []
        if self._affinity_seconds:
            last = self._last(call, now)
            if last is not None:
                order.append(last)
        for tier in self._tiers:
            picker = tier.picker.twin()
            while allowed := [state for state in tier.usable if state not in order]:
                order.append(picker.pick_among(call, allowed))
        return tuple(order[:attempts])

    def _refuse(self, call: Call, now: float) -> Refusal:  # noqa: ARG002 - as all that pick
        return self._refusal

    def _last(self, call: Call, now: float) -> EndpointState | None:
        """Where the client's last call went, if it still may go there."""
        last = self._affinity.last(call.client, now, self._affinity_seconds)
        return last if last in self._usable else None

    def _pick_with_affinity(self, call: Call, now: float) -> EndpointState:
        """Where the client's last call went, else a new choice; both are remembered."""
        state = self._last(call, now) or self._pick_anew(call, now)
        self._affinity.remember(call.client, state, now)
        return state

    def _pick_with_spill(self, call: Call, now: float) -> EndpointState:
        """Go further when this node's endpoints have all that they may have."""
        assert self._server is not None
        return self._tiers[self._server.is_full].picker.pick(call, now)


def _is_here(tiers: list[_Tier], balancing: Balancing, place: Place) -> bool:
    return (
        bool(tiers)
        and balancing.locality is Locality.PREFER_NODE
        and tiers[0].usable[0].endpoint.node == place.node
    )


def _kind(balancing: Balancing, members: Members) -> Callable[[Callable[[], float]], Picker]:
    if balancing.algorithm is Balance.ROUND_ROBIN:
        return RoundRobin if members.even else WeightedRoundRobin
    return _KINDS[balancing.algorithm]
