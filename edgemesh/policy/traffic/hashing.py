"""Consistent hashing: calls with the same key go to the same endpoint, whoever comes or goes.

Tables are made of all endpoints, whether they are well or not: a key whose endpoint is not
usable walks on to the next one, so that all other keys stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import ceil

from xxhash import xxh64_intdigest

from edgemesh.policy.traffic.calls import Call
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.hash_tables import HashTable, Maglev, Ring
from edgemesh.policy.traffic.pickers import Members, Random


class _Hashing:
    """By the call's key, and by chance where it has none."""

    __slots__ = (
        "_bound",
        "_made_of",
        "_make",
        "_members",
        "_random",
        "_share_of",
        "_table",
        "_usable",
    )

    def __init__(
        self,
        random: Callable[[], float],
        make: Callable[[Sequence[EndpointState], int], HashTable],
    ) -> None:
        """Make tables by ``make``; ``random`` gives a number in [0, 1)."""
        self._make = make
        self._random = Random(random)
        self._usable: frozenset[EndpointState] = frozenset()
        self._share_of: dict[EndpointState, float] = {}
        self._bound = 0.0
        self._members: Members | None = None
        self._made_of: object = None
        self._table: HashTable | None = None

    def assign(self, members: Members) -> None:
        """See `Picker`; a table that has to be made is made when it is needed."""
        self._random.assign(members)
        self._members = members
        self._usable = frozenset(members.states)
        total = sum(members.shares)
        shares = zip(members.states, members.shares, strict=True)
        self._share_of = {state: share / total for state, share in shares}
        percent = members.balancing.bounded_load_percent
        self._bound = max(percent, 100) / 100 if percent else 0.0
        weights = [(state, state.endpoint.weight) for state in members.known]
        made_of = (weights, members.balancing.ring_size)
        if made_of != self._made_of:
            self._made_of = made_of
            self._table = None

    def pick(self, call: Call, now: float) -> EndpointState:
        """The endpoint of the call's key."""
        if call.hash_text is None:
            return self._random.pick(call, now)
        return self._walk(call.hash_text, self._usable)

    def pick_among(self, call: Call, allowed: Sequence[EndpointState]) -> EndpointState:
        """The next one on the key's way that is allowed."""
        if call.hash_text is None:
            return self._random.pick_among(call, allowed)
        return self._walk(call.hash_text, allowed)

    def twin(self) -> _Hashing:
        """Itself: it takes no turns."""
        return self

    def _walk(self, text: str, allowed: Collection[EndpointState]) -> EndpointState:
        table = self._table
        if table is None:
            assert self._members is not None
            table = self._make(self._members.known, self._members.balancing.ring_size)
            self._table = table
        value = xxh64_intdigest(text.encode("utf-8", "surrogatepass"))
        state = table.first(value)
        calls = self._bound and self._bound * (sum(other.active for other in self._usable) + 1)
        if state in allowed and (not calls or self._has_room(state, calls)):
            return state
        room = allowed
        if calls:
            room = {other for other in allowed if self._has_room(other, calls)} or allowed
        return next(other for other in table.way(value) if other in room)

    def _has_room(self, state: EndpointState, calls: float) -> bool:
        """Whether an endpoint has less than its share of the calls there may be.

        Mirrokni et al., "Consistent Hashing with Bounded Loads" (2016): with this call counted,
        none has more than its share times the bound, rounded up.
        """
        return state.active < ceil(calls * self._share_of[state])


class RingHash(_Hashing):
    """See `Ring`."""

    __slots__ = ()

    def __init__(self, random: Callable[[], float]) -> None:
        """``random`` gives a number in [0, 1)."""
        super().__init__(random, Ring)


class MaglevHash(_Hashing):
    """See `Maglev`."""

    __slots__ = ()

    def __init__(self, random: Callable[[], float]) -> None:
        """``random`` gives a number in [0, 1)."""
        super().__init__(random, Maglev)
