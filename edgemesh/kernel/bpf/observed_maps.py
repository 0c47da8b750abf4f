"""The agent's side of what the gate sees of HTTP/1.1: what flows ask, and how that is answered.

The other side is bpf/observe.h. `Watch` is the words of its ``struct watch``, which lie in memory
that both sides have.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final, Self

from edgemesh.kernel.bpf.maps import Map

# struct watch, in words.
PHASE, UNOBSERVED_FOR, REFUSED_FROM, REFUSED_TO, WAIT_NS, REQUESTS, REFUSED = range(7)
HAS_NO_BODY, QUOTA, TALLY = range(8, 11)
WATCH_WORDS = 31
# enum phase.
READY, _, ANSWERED_BY_AGENT = range(3)
# enum unobserved: why a flow is not observed any more, for people.
UNOBSERVED: Final = ("", "unknown", "pipelined", "unasked", "long", "upgraded")
# struct tally, in words.
STATUSES = slice(10)
NANOSECONDS = 10
LATENCIES = slice(11, 51)
UNOBSERVED_FLOWS = slice(51, 57)
TALLY_WORDS = 57
_TALLY = struct.Struct(f"={TALLY_WORDS}Q")

_NANOSECONDS = 1_000_000_000


class Watch:
    """One flow that is observed."""

    __slots__ = ("_at", "_words")

    def __init__(self, words: memoryview, number: int, quota: int, tally: int) -> None:
        """Begin with a flow of which nothing was read.

        Args:
            words: of all flows.
            number: of this one.
            quota: where its Service port's tokens are.
            tally: where it is counted.
        """
        self._words = words
        self._at = number * WATCH_WORDS
        for word in range(WATCH_WORDS):
            words[self._at + word] = 0
        words[self._at + QUOTA] = quota
        words[self._at + TALLY] = tally

    def _word(self, word: int) -> int:
        return int(self._words[self._at + word])

    @property
    def unobserved(self) -> str:
        """Why requests are not counted any more, one of `UNOBSERVED`; "" when they are."""
        return UNOBSERVED[self._word(UNOBSERVED_FOR)]

    @property
    def requests(self) -> int:
        """That were passed on."""
        return self._word(REQUESTS)

    @property
    def refused(self) -> int:
        """Requests that were over the quota."""
        return self._word(REFUSED)

    @property
    def wait_seconds(self) -> float:
        """Until one more than the refused request might have passed."""
        return self._word(WAIT_NS) / _NANOSECONDS

    @property
    def wants_no_body(self) -> bool:
        """Whether the refused request is HEAD."""
        return bool(self._word(HAS_NO_BODY))

    def refusal(self) -> tuple[int, int] | None:
        """The request that the agent is to answer; None when there is none.

        Returns:
            The position of its first byte and that after its last, in bytes of the direction
            since it is in the gate; 0 for the latter while it is not known.
        """
        if self._word(PHASE) != ANSWERED_BY_AGENT:
            return None
        return self._word(REFUSED_FROM), self._word(REFUSED_TO)

    def answered(self) -> None:
        """The agent has answered: let the next request come."""
        self._words[self._at + PHASE] = READY


class ObservedMaps:
    """The maps of observed flows; a context manager that closes them.

    Attributes:
        sources: for `Gate.open` and `Gate.enter`.
        ports, endpoints: how many can be counted.
    """

    def __init__(self, open_map: Callable[[str], Map]) -> None:
        """Open the maps.

        Args:
            open_map: opens one by its name in C.

        Raises:
            OSError: the maps are not there.
        """
        with ExitStack() as opened:
            self.sources = opened.enter_context(open_map("observed_sources"))
            self._quotas = opened.enter_context(open_map("quotas"))
            self._buckets = opened.enter_context(open_map("buckets"))
            self._tallies = opened.enter_context(open_map("tallies"))
            self._watches = opened.enter_context(open_map("watches"))
            self._opened = opened.pop_all()
        assert self._watches.value_size == WATCH_WORDS * 8
        assert self._tallies.value_size == _TALLY.size
        self._words: memoryview | None = None
        self.ports = self._quotas.max_entries
        self.endpoints = self._tallies.max_entries

    def __enter__(self) -> Self:
        """The maps themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the maps."""
        self._opened.close()

    def watch(self, number: int, quota: int, tally: int) -> Watch:
        """Observe a flow that is about to enter the gate; see `Watch`."""
        if self._words is None:
            # All of it counts as the agent's memory from then on: most agents need none.
            watches = self._watches
            size = watches.max_entries * WATCH_WORDS * 8
            memory = self._opened.enter_context(mmap.mmap(watches.fd, size))
            self._words = self._opened.enter_context(memoryview(memory).cast("Q"))
        return Watch(self._words, number, quota, tally)

    def set_quota(self, index: int, rate: float, burst: int) -> None:
        """Let so many requests a second pass, and so many at once; the tokens stay as they are.

        Args:
            index: of the quota.
            rate: 0 for no quota.
            burst: 1 or more.
        """
        period = round(_NANOSECONDS / rate) if rate else 0
        self._quotas.update(struct.pack("=I", index), struct.pack("=QQ", period, period * burst))

    def fill(self, index: int) -> None:
        """Fill the bucket of a quota."""
        self._buckets.update(struct.pack("=I", index), bytes(self._buckets.value_size))

    def tally(self, index: int) -> Sequence[int]:
        """What was counted since `clear`."""
        found = self._tallies.lookup(struct.pack("=I", index))
        assert found is not None
        return _TALLY.unpack(found)

    def clear(self, index: int) -> None:
        """Begin to count anew, while nobody does."""
        self._tallies.update(struct.pack("=I", index), bytes(_TALLY.size))
