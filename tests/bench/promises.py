"""Results that stand beside a promise instead of a peer: their table and their plot."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from bench.report import align
from bench.results import Results

_KEPT = "#1f6f8b"
_BROKEN = "#b3413a"
_WIDTH_INCHES = 9
_HEADING_INCHES = 0.8
_PANEL_INCHES = 0.95


@dataclass(frozen=True, slots=True)
class Promise:
    """What a metric may be at most.

    Args:
        metric: by its name in the results.
        limit: in the metric's unit.
        about: what it is, for people.
        show: a value as text.
    """

    metric: str
    limit: float
    about: str
    show: Callable[[float], str]


def promise_table(results: Results, promises: Sequence[Promise]) -> str:
    """One line for each case and promise."""
    lines = [["case", "what", "median", "min - max", "promised"]]
    for case in results.cases:
        for promise in promises:
            values, show = _values(results, case, promise), promise.show
            spread = f"{show(min(values))} - {show(max(values))}"
            median = show(statistics.median(values))
            lines.append([case, promise.about, median, spread, f"< {show(promise.limit)}"])
    return align(lines)


def draw_promises(results: Results, promises: Sequence[Promise], path: Path) -> None:
    """One row for each promise: the bar should end before the line."""
    rows = [(case, promise) for case in results.cases for promise in promises]
    height = _HEADING_INCHES + _PANEL_INCHES * len(rows)
    figure = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
    panels = figure.subplots(len(rows), 1, squeeze=False)
    for (case, promise), (axes,) in zip(rows, panels, strict=True):
        values = _values(results, case, promise)
        median = statistics.median(values)
        axes.barh(0, median, 0.6, color=_KEPT if median < promise.limit else _BROKEN)
        axes.plot([min(values), max(values)], [0, 0], color="black", linewidth=1.2)
        axes.axvline(promise.limit, color="black", linestyle="--", linewidth=1)
        axes.set_xlim(0, max(promise.limit, *values) * 1.15)
        axes.set_yticks([])
        axes.set_xticks([0, promise.limit], ["0", promise.show(promise.limit)])
        axes.set_title(f"{case}: {promise.about}, {promise.show(median)}", loc="left", fontsize=10)
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(
        f"{results.bench}: {results.rounds} rounds. Bars are medians, solid lines reach from the"
        " least to the greatest round,\ndashed lines are what is promised: shorter is better.",
        ha="left",
        x=0.01,
        fontsize=10,
    )
    figure.savefig(path, dpi=110)


def _values(results: Results, case: str, promise: Promise) -> Sequence[float]:
    return results.get(case, results.subjects(case)[0], promise.metric)
