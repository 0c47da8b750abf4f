"""The benches, one file each, named as on the command line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench.loads import Timing
from bench.results import Results


@dataclass(frozen=True, slots=True)
class Options:
    """What a run was asked for.

    Args:
        rounds: 1 or more.
        timing: of each measurement.
        cases, subjects: a selection by name; empty means all.
        directory: for everything temporary; its path is short, since sockets lie in it.
    """

    rounds: int
    timing: Timing
    cases: tuple[str, ...]
    subjects: tuple[str, ...]
    directory: Path


@dataclass(frozen=True, slots=True)
class Bench:
    """One bench.

    Args:
        run: measures.
        draw: makes the plot at a path.
        tell: makes the text for people.
        seconds: how long each measurement takes unless something else is asked for.
    """

    run: Callable[[Options], Awaitable[Results]]
    draw: Callable[[Results, Path], None]
    tell: Callable[[Results], str]
    seconds: float = 1.0
