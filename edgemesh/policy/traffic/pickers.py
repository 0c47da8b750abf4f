"""Which of several endpoints takes the next call: turns, chance, or the fewest open calls.

A picker is told its endpoints when they change (`assign`), so that `pick` has only to choose.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple, Protocol

from edgemesh.model.policies import Balancing
from edgemesh.policy.traffic.calls import Call
from edgemesh.policy.traffic.endpoint_state import EndpointState

# One turn's length by stride for a weight of 1: long, so that what rounding takes is nothing.
_STRIDE = 1 << 48


class Members(NamedTuple):
    """Who may be picked.

    Args:
        states: those that may be, not empty.
        shares: their weights against each other, above 0.
        known: those that would be if all were well, which hash tables are made of.
        balancing: the policy.
    """

    states: tuple[EndpointState, ...]
    shares: tuple[float, ...]
    known: tuple[EndpointState, ...]
    balancing: Balancing

    @property
    def even(self) -> bool:
        """Whether all weights are the same."""
        return len(set(self.shares)) == 1


class Picker(Protocol):
    """One way to pick."""

    def assign(self, members: Members) -> None:
        """Pick from these from now on."""
        ...

    def pick(self, call: Call, now: float) -> EndpointState:
        """The endpoint of this call."""
        ...

    def pick_among(self, call: Call, allowed: Sequence[EndpointState]) -> EndpointState:
        """The endpoint of a call that has tried others; ``allowed`` are members, not empty."""
        ...

    def twin(self) -> Picker:
        """One that goes on from here without taking turns of this one."""
        ...


# Gives 0.0: for those that leave nothing to chance.
_no_chance: Callable[[], float] = float


class RoundRobin:
    """Each in its turn: exactly even."""

    __slots__ = ("_position", "_states")

    def __init__(self, random: Callable[[], float]) -> None:  # noqa: ARG002 - as all pickers
        """Begin with the first."""
        self._position = 0
        self._states: tuple[EndpointState, ...] = ()

    def assign(self, members: Members) -> None:
        """Go on where the last list was."""
        self._states = members.states

    def pick(self, call: Call, now: float) -> EndpointState:  # noqa: ARG002
        """The next."""
        position = self._position
        states = self._states
        if position >= len(states):
            position = 0
        self._position = position + 1
        return states[position]

    def pick_among(self, call: Call, allowed: Sequence[EndpointState]) -> EndpointState:
        """The next of the others: those whose turn is passed over have had their chance."""
        while (state := self.pick(call, 0.0)) not in allowed:
            pass
        return state

    def twin(self) -> RoundRobin:
        """With the same one next."""
        twin = RoundRobin(_no_chance)
        twin._position, twin._states = self._position, self._states
        return twin


class WeightedRoundRobin:
    """Each in its turn, as often as its weight says, spread over the round (stride scheduling).

    Waldspurger and Weihl, "Stride Scheduling", MIT/LCS/TM-528 (1995).
    """

    __slots__ = ("_strides", "_turn", "_turns")

    def __init__(self, random: Callable[[], float]) -> None:  # noqa: ARG002 - as all pickers
        """Begin a round."""
        self._turn = 0
        self._strides: dict[EndpointState, int] = {}
        # When each has its next turn, what orders those of the same time, whose it is.
        self._turns: list[tuple[int, int, EndpointState]] = []

    def assign(self, members: Members) -> None:
        """Whoever stays keeps its place in the round, as far as its weight does."""
        waits = {
            state: (turn - self._turn) / self._strides[state] for turn, _, state in self._turns
        }
        self._strides = {
            state: max(int(_STRIDE / share), 1)
            for state, share in zip(members.states, members.shares, strict=True)
        }
        self._turns = [
            (self._turn + int(waits.get(state, 0.5) * stride), index, state)
            for index, (state, stride) in enumerate(self._strides.items())
        ]
        heapq.heapify(self._turns)

    def pick(self, call: Call, now: float) -> EndpointState:  # noqa: ARG002
        """Whose turn is the earliest."""
        turn, index, state = self._turns[0]
        self._turn = turn
        heapq.heapreplace(self._turns, (turn + self._strides[state], index, state))
        return state

    def pick_among(self, call: Call, allowed: Sequence[EndpointState]) -> EndpointState:  # noqa: ARG002
        """Whose turn is the earliest of the others."""
        turns = self._turns
        turn, index, state = min(entry for entry in turns if entry[2] in allowed)
        turns.remove((turn, index, state))
        heapq.heapify(turns)
        heapq.heappush(turns, (turn + self._strides[state], index, state))
        return state

    def twin(self) -> WeightedRoundRobin:
        """With the same turns next."""
        twin = WeightedRoundRobin(_no_chance)
        twin._turn, twin._strides, twin._turns = self._turn, self._strides, self._turns.copy()
        return twin


class Random:
    """By chance, as often as its weight says."""

    __slots__ = ("_even", "_heights", "_random", "_share_of", "_states", "_total")

    def __init__(self, random: Callable[[], float]) -> None:
        """``random`` gives a number in [0, 1)."""
        self._random = random
        self._states: tuple[EndpointState, ...] = ()
        self._even = True
        self._heights: list[float] = []
        self._total = 0.0
        self._share_of: dict[EndpointState, float] = {}

    def assign(self, members: Members) -> None:
        """See `Picker`."""
        self._states = members.states
        self._even = members.even
        self._heights = list(accumulate(members.shares))
        self._total = self._heights[-1]
        self._share_of = dict(zip(members.states, members.shares, strict=True))

    def pick(self, call: Call, now: float) -> EndpointState:  # noqa: ARG002
        """Any."""
        states = self._states
        if self._even:
            return states[int(self._random() * len(states))]
        height = self._random() * self._total
        return states[bisect_right(self._heights, height, hi=len(states) - 1)]

    def pick_among(self, call: Call, allowed: Sequence[EndpointState]) -> EndpointState:  # noqa: ARG002
        """Any of these."""
        heights = list(accumulate(self._share_of[state] for state in allowed))
        return allowed[bisect_right(heights, self._random() * heights[-1], hi=len(allowed) - 1)]

    def twin(self) -> Random:
        """Itself: it takes no turns."""
        return self


class LeastRequest:
    """Of two that chance names, the one with fewer open calls for its weight.

    Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (1996).
    """

    __slots__ = ("_first", "_random", "_share_of", "_states")

    def __init__(self, random: Callable[[], float]) -> None:
        """``random`` gives a number in [0, 1)."""
        self._random = random
        self._first = Random(random)
        self._states: tuple[EndpointState, ...] = ()
        self._share_of: dict[EndpointState, float] = {}

    def assign(self, members: Members) -> None:
        """See `Picker`."""
        self._states = members.states
        self._first.assign(members)
        self._share_of = dict(zip(members.states, members.shares, strict=True))

    def pick(self, call: Call, now: float) -> EndpointState:
        """The first is named by weight, the second by chance alone."""
        return self._less_busy(self._first.pick(call, now), self._states)

    def pick_among(self, call: Call, allowed: Sequence[EndpointState]) -> EndpointState:
        """The same among these."""
        return self._less_busy(self._first.pick_among(call, allowed), allowed)

    def twin(self) -> LeastRequest:
        """Itself: it takes no turns."""
        return self

    def _less_busy(self, one: EndpointState, states: Sequence[EndpointState]) -> EndpointState:
        other = states[int(self._random() * len(states))]
        if other is one:
            # Chance named it twice; its neighbour is as good as another draw.
            other = states[states.index(one) - 1]
        share_of = self._share_of
        if other.active * share_of[one] < one.active * share_of[other]:
            return other
        return one
