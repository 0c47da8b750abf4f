"""Tables of consistent hashing: from a key's hash to the endpoints in the order it meets them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Protocol

from xxhash import xxh64_intdigest

from edgemesh.policy.traffic.endpoint_state import EndpointState

# An endpoint has as many points as the ring is to have at least, but fewer when all of them
# together would be more than this. It is halved, so that the number stays the same while a few
# endpoints come and go: otherwise their coming would move keys of all others.
_RING_POINTS = 8192
_LEAST_POINTS = 64
# Primes. The small one serves 128 endpoints well and is filled within milliseconds; the large
# one is Envoy's.
_MAGLEV_SIZE = 4099
_MAGLEV_LARGE_SIZE = 65537
_MAGLEV_SMALL_UP_TO = 128


class HashTable(Protocol):
    """One of them."""

    def first(self, value: int) -> EndpointState:
        """The endpoint of a key with this hash (64 bits) when all are well."""
        ...

    def way(self, value: int) -> Iterator[EndpointState]:
        """The endpoints that it meets, that one first; each comes at least once."""
        ...


class Ring:
    """Ring hash: an endpoint takes the keys between the point before and each of its own.

    Karger et al., "Consistent Hashing and Random Trees" (1997).
    """

    __slots__ = ("_owners", "_points")

    def __init__(self, states: Sequence[EndpointState], least_points: int) -> None:
        """Make it of all endpoints, not none; ``least_points`` is the policy's ``ring_size``."""
        points_each = least_points
        while points_each * len(states) > _RING_POINTS and points_each >= 2 * _LEAST_POINTS:
            points_each //= 2
        heaviest = max(state.endpoint.weight for state in states)
        ring: dict[int, EndpointState] = {}
        for state in states:
            name = _name(state)
            for number in range(max(points_each * state.endpoint.weight // heaviest, 1)):
                ring[xxh64_intdigest(name, number)] = state
        self._points = sorted(ring)
        self._owners = [ring[point] for point in self._points]

    def first(self, value: int) -> EndpointState:
        """See `HashTable`."""
        return self._owners[bisect_left(self._points, value) % len(self._owners)]

    def way(self, value: int) -> Iterator[EndpointState]:
        """See `HashTable`."""
        return _from(self._owners, bisect_left(self._points, value))


class Maglev:
    """Maglev: endpoints take slots of a table in turns, each in an order of its own.

    Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016),
    section 3.4. Shares are as even as the table is large; when an endpoint goes, few keys of
    others move beside its own.
    """

    __slots__ = ("_slots",)

    def __init__(self, states: Sequence[EndpointState], least_points: int) -> None:  # noqa: ARG002
        """Fill it with all endpoints, not none; its size is its own."""
        size = _MAGLEV_SIZE if len(states) <= _MAGLEV_SMALL_UP_TO else _MAGLEV_LARGE_SIZE
        heaviest = max(state.endpoint.weight for state in states)
        slots: list[EndpointState | None] = [None] * size
        takers = [_Taker(state, size) for state in sorted(states, key=_name)]
        left = size
        while left:
            for taker in takers:
                taker.credit += taker.state.endpoint.weight
                if taker.credit >= heaviest and left:
                    taker.credit -= heaviest
                    taker.take(slots)
                    left -= 1
        self._slots: list[EndpointState] = [slot for slot in slots if slot is not None]

    def first(self, value: int) -> EndpointState:
        """See `HashTable`."""
        return self._slots[value % len(self._slots)]

    def way(self, value: int) -> Iterator[EndpointState]:
        """See `HashTable`."""
        return _from(self._slots, value % len(self._slots))


class _Taker:
    """An endpoint while a Maglev table is filled."""

    __slots__ = ("_at", "_size", "_skip", "credit", "state")

    def __init__(self, state: EndpointState, size: int) -> None:
        name = _name(state)
        self.state = state
        self.credit = 0
        self._size = size
        self._at = xxh64_intdigest(name, 0) % size
        self._skip = xxh64_intdigest(name, 1) % (size - 1) + 1

    def take(self, slots: list[EndpointState | None]) -> None:
        """Take the first free slot in this endpoint's own order."""
        at, skip, size = self._at, self._skip, self._size
        while slots[at] is not None:
            at = (at + skip) % size
        slots[at] = self.state
        self._at = at


def _from(states: list[EndpointState], start: int) -> Iterator[EndpointState]:
    """All of them, from one on and round; most often it is one of the first that is wanted."""
    # Negative indices count from the end.
    return map(states.__getitem__, range(start - len(states), start))


def _name(state: EndpointState) -> bytes:
    return f"{state.endpoint.address} {state.endpoint.port}".encode()
