"""The picture of a comparison of requests: three panels for each case."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.bars import ratio
from bench.plot import INNER, bar, colour, finish, label
from bench.report import duration, rate
from bench.results import Results

_WIDTH_INCHES = 15
_HEADING_INCHES = 0.9
_AXIS_INCHES = 0.75
_BAR_INCHES = 0.34


@dataclass(frozen=True, slots=True)
class _Panel:
    """What the bars of a panel are.

    Args:
        outer, inner: metrics; the inner one is drawn dark within the outer, "" for none.
        compared: the metric whose ratio is told.
        show: a value as text.
        about: for people.
    """

    outer: str
    inner: str
    compared: str
    show: Callable[[float], str]
    about: str


_PANELS = (
    _Panel(
        "requests_per_second",
        "",
        "requests_per_second",
        rate,
        "requests a second: longer is better",
    ),
    _Panel(
        "latency_p99",
        "latency_p50",
        "latency_p50",
        duration,
        "latency: p50 dark, p99 light; shorter is better",
    ),
    _Panel(
        "machine_cpu_per_request",
        "subject_cpu_per_request",
        "machine_cpu_per_request",
        duration,
        "CPU time a request: subject dark, whole machine light; shorter is better",
    ),
)


def draw_requests(results: Results, path: Path) -> None:
    """For each case, from the left: how many requests, how late, at what cost."""
    heights = [_AXIS_INCHES + _BAR_INCHES * len(results.subjects(case)) for case in results.cases]
    size = (_WIDTH_INCHES, _HEADING_INCHES + sum(heights))
    figure = Figure(figsize=size, layout="constrained")
    rows = figure.subplots(len(heights), len(_PANELS), squeeze=False, height_ratios=heights)
    for case, row in zip(results.cases, rows, strict=True):
        row[0].set_title(case, loc="left", fontweight="bold")
        for panel, axes in zip(_PANELS, row, strict=True):
            _draw(axes, results, case, panel)
    figure.suptitle(
        f"{results.bench}: {results.rounds} interleaved rounds. Bars are medians, lines reach from"
        " the least to the greatest round.\n"
        f"In brackets: {results.ours[0]} / this one, by the median of the ratios within each round"
        " (of p50 where it is about latency).",
        ha="left",
        x=0.01,
        fontsize=10,
    )
    figure.savefig(path, dpi=110)


def _draw(axes: Axes, results: Results, case: str, panel: _Panel) -> None:
    subjects = results.subjects(case)
    for position, subject in enumerate(subjects):
        outer = results.get(case, subject, panel.outer)
        inner = results.get(case, subject, panel.inner)
        bar(axes, position, outer, colour(results, subject))
        if inner:
            axes.barh(position, statistics.median(inner), 0.3, color=INNER)
        shown = [panel.show(statistics.median(values)) for values in (inner, outer) if values]
        value = None if subject in results.ours else ratio(results, case, panel.compared, subject)
        text = ", ".join(shown) + ("" if value is None else f"  [{value:.2f}]")
        label(axes, position, max(outer), text)
    finish(axes, subjects, panel.about, room=1.6)
    # Each bar has its figures beside it.
    axes.set_xticks([])
