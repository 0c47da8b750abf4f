"""Weighted chance in two draws, whatever the number of endpoints: the alias method.

Walker, "An Efficient Method for Generating Discrete Random Variables with General Distributions"
(1977), as Vose built its table (1991). A slot is drawn evenly; a second number tells whether the
slot itself is taken or the other one that it names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

# A drawn 32-bit number below the threshold takes the slot itself.
THRESHOLDS: Final = 1 << 32


class AliasSlot(NamedTuple):
    """One slot of an alias table.

    Args:
        threshold: 0 to THRESHOLDS - 1; the slot itself is taken so often, of THRESHOLDS.
        alias: the slot that is taken else; itself when it is always taken.
    """

    threshold: int
    alias: int


def alias_table(shares: Sequence[float]) -> tuple[AliasSlot, ...]:
    """The table that takes each slot as often as its share says.

    Args:
        shares: above 0, not all of them tiny against one another beyond what a float holds.
    """
    mean = sum(shares) / len(shares)
    heights = [share / mean for share in shares]
    low = [slot for slot, height in enumerate(heights) if height < 1.0]
    high = [slot for slot, height in enumerate(heights) if height >= 1.0]
    # What is left over in the end is full but for rounding, and needs no other.
    table = [AliasSlot(THRESHOLDS - 1, slot) for slot in range(len(shares))]
    while low and high:
        small, great = low.pop(), high.pop()
        table[small] = AliasSlot(min(int(heights[small] * THRESHOLDS), THRESHOLDS - 1), great)
        heights[great] -= 1.0 - heights[small]
        (low if heights[great] < 1.0 else high).append(great)
    return tuple(table)
