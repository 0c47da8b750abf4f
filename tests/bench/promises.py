"""Results that stand beside a promise instead of a peer: their table and their plot."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report import align
from bench.results import Results

_KEPT = "#1f6f8b"
_BROKEN = "#b3413a"
_PEERS = "#a9b4c2"
_WIDTH_INCHES = 9
_HEADING_INCHES = 0.8
_PANEL_INCHES = 0.65
_BAR_INCHES = 0.3


@dataclass(frozen=True, slots=True)
class Promise:
    """What a metric may be at most.

    Args:
        metric: by its name in the results.
        limit: in the metric's unit.
        about: what it is, for people.
        show: a value as text.
        relative: whether it is about the ratio to the base case, round by round.
    """

    metric: str
    limit: float
    about: str
    show: Callable[[float], str]
    relative: bool = False

    def values(self, results: Results, case: str, subject: str) -> Sequence[float]:
        """What is limited, a value each round; none where nothing is promised."""
        if not self.relative:
            return results.get(case, subject, self.metric)
        return () if case == results.base else results.to_base(case, subject, self.metric)


def promise_table(results: Results, promises: Sequence[Promise]) -> str:
    """One line for each case, promise and subject."""
    lines = [["case", "subject", "median", "min - max", "promised", "what"]]
    for case, promise, subjects in _panels(results, promises):
        show = promise.show
        for subject, values in subjects.items():
            spread = f"{show(min(values))} - {show(max(values))}"
            median = show(statistics.median(values))
            limit = f"< {show(promise.limit)}"
            lines.append([case, subject, median, spread, limit, promise.about])
    return align(lines)


def draw_promises(results: Results, promises: Sequence[Promise], path: Path) -> None:
    """A panel for each case and promise: our bars should end before the line."""
    panels = list(_panels(results, promises))
    heights = [_PANEL_INCHES + _BAR_INCHES * len(subjects) for _, _, subjects in panels]
    figure = Figure(figsize=(_WIDTH_INCHES, _HEADING_INCHES + sum(heights)), layout="constrained")
    places = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
    for (case, promise, subjects), (axes,) in zip(panels, places, strict=True):
        axes.set_title(f"{case}: {promise.about}", loc="left", fontsize=10)
        _draw_panel(axes, results, promise, subjects)
    figure.suptitle(
        f"{results.bench}: {results.rounds} rounds. Bars are medians, solid lines reach from the"
        " least to the greatest round,\ndashed lines are what is promised: shorter is better.",
        ha="left",
        x=0.01,
        fontsize=10,
    )
    figure.savefig(path, dpi=110)


def _draw_panel(
    axes: Axes, results: Results, promise: Promise, subjects: Mapping[str, Sequence[float]]
) -> None:
    labels = []
    for position, (subject, values) in enumerate(subjects.items()):
        median = statistics.median(values)
        colour = _KEPT if median < promise.limit else _BROKEN
        axes.barh(position, median, 0.6, color=colour if subject in results.ours else _PEERS)
        axes.plot([min(values), max(values)], [position, position], color="black", linewidth=1.2)
        labels.append(f"{subject}  {promise.show(median)}")
    axes.axvline(promise.limit, color="black", linestyle="--", linewidth=1)
    axes.set_xlim(0, max(promise.limit, *(max(values) for values in subjects.values())) * 1.15)
    axes.set_xticks([0, promise.limit], ["0", promise.show(promise.limit)])
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.spines[["top", "right", "left"]].set_visible(False)


def _panels(
    results: Results, promises: Sequence[Promise]
) -> Iterator[tuple[str, Promise, Mapping[str, Sequence[float]]]]:
    """Each case with each promise that is made for it, and the values of the subjects."""
    for case in results.cases:
        for promise in promises:
            values = {s: promise.values(results, case, s) for s in results.subjects(case)}
            if any(values.values()):
                yield case, promise, {subject: v for subject, v in values.items() if v}
