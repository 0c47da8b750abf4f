"""Long work in pieces, a few at a time: the data plane shares this thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import trio

Piece = TypeVar("Piece")

# What a call at the data plane may wait for us; a stretch of the reactor's may take four times it.
_SLICE_SECONDS = 0.0005


def take_slice(
    pieces: Iterator[Piece], clock: Callable[[], float] = time.perf_counter
) -> list[Piece]:
    """The next pieces, as many as are made within half a millisecond; empty at the end.

    Args:
        pieces: each of them takes microseconds to make.
        clock: in seconds.
    """
    taken = []
    end = clock() + _SLICE_SECONDS
    for piece in pieces:
        taken.append(piece)
        if clock() >= end:
            break
    return taken


async def run_in_slices(steps: Iterator[None]) -> None:
    """Go through all steps, with other tasks' turns in between."""
    while True:
        if not take_slice(steps):
            return
        await trio.lowlevel.checkpoint()
