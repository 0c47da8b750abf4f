"""Long work is done in pieces that fit between the calls of the data plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import trio

from edgemesh.observe.slices import run_in_slices, take_slice


def ticking(seconds: float) -> Callable[[], float]:
    """A clock that goes on by so much whenever it is read."""
    now = 0.0

    def read() -> float:
        nonlocal now
        now += seconds
        return now

    return read


def test_a_slice_ends_with_its_time_and_the_next_goes_on() -> None:
    pieces = iter(range(7))
    assert take_slice(pieces, ticking(0.0002)) == [0, 1, 2]
    assert take_slice(pieces, ticking(0.0002)) == [3, 4, 5]
    assert take_slice(pieces, ticking(0.0002)) == [6]
    assert take_slice(pieces, ticking(0.0002)) == []


def test_a_piece_that_takes_longer_than_a_slice_is_one() -> None:
    pieces = iter("ab")
    assert take_slice(pieces, ticking(1.0)) == ["a"]


async def test_others_have_their_turns_between_slices() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    def steps() -> Iterator[None]:
        for _ in range(100):
            # Half a slice each.
            end = trio.current_time() + 0.00025
            while trio.current_time() < end:
                pass
            yield

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        await run_in_slices(steps())
        nursery.cancel_scope.cancel()
    assert turns >= 40
