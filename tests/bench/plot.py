"""The results as a picture that needs no other explanation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report import bytes_rate, duration, rate, rate_metric
from bench.results import Results, round_ratios

_OURS = "#1f6f8b"
_PEERS = "#a9b4c2"
INNER = "#33404f"
_WIDTH_INCHES = 11
_HEADING_INCHES = 1.0
_AXIS_INCHES = 0.8
_BAR_INCHES = 0.3


def draw_comparison(results: Results, path: Path) -> None:
    """One row for each case: how fast, and at what cost; one bar for each subject."""
    cases = results.cases
    bars = sum(len(results.subjects(case)) for case in cases)
    height = _HEADING_INCHES + _AXIS_INCHES * len(cases) + _BAR_INCHES * bars
    figure = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
    panels = figure.subplots(len(cases), 2, squeeze=False)
    for case, (speed, cost) in zip(cases, panels, strict=True):
        _speed_panel(speed, results, case)
        _cost_panel(cost, results, case)
    figure.suptitle(_heading(results), ha="left", x=0.01, fontsize=10)
    figure.savefig(path, dpi=110)


def _heading(results: Results) -> str:
    return (
        f"{results.bench}: {results.rounds} interleaved rounds. Bars are medians, lines reach from"
        " the least to the greatest round.\n"
        "Left: throughput as a ratio to no proxy at all (direct) in the same round; longer is"
        " better. Beside it the medians of throughput and latency.\n"
        "Right: processor time of the whole machine for one operation, load and endpoints"
        " included; shorter is better.\nDark: the part of the subject's own processes."
    )


def _speed_panel(axes: Axes, results: Results, case: str) -> None:
    metric = rate_metric(results, case)
    show = bytes_rate if metric == "bytes_per_second" else rate
    subjects = results.subjects(case)
    base = results.get(case, "direct", metric)
    for position, subject in enumerate(subjects):
        rates = results.get(case, subject, metric)
        ratios = round_ratios(rates, base) if base else rates
        bar(axes, position, ratios, colour(results, subject))
        told = [show(statistics.median(rates))]
        for name in ("p50", "p99"):
            latencies = results.get(case, subject, f"latency_{name}")
            told += [f"{name} {duration(statistics.median(latencies))}"] if latencies else []
        label(axes, position, max(ratios), ", ".join(told))
    if base:
        axes.axvline(1, color="black", linewidth=0.8)
    finish(axes, subjects, "ratio to direct" if base else metric, room=1.8)
    axes.set_title(case, loc="left", fontweight="bold")


def _cost_panel(axes: Axes, results: Results, case: str) -> None:
    subjects = results.subjects(case)
    for position, subject in enumerate(subjects):
        machine = [v * 1e6 for v in results.get(case, subject, "machine_cpu_per_request")]
        own = [v * 1e6 for v in results.get(case, subject, "subject_cpu_per_request")]
        bar(axes, position, machine, colour(results, subject))
        if own:
            axes.barh(position, statistics.median(own), 0.3, color=INNER)
        label(axes, position, max(machine), duration(statistics.median(machine) / 1e6))
    is_bulk = rate_metric(results, case) == "bytes_per_second"
    finish(axes, subjects, f"CPU µs per {'MiB' if is_bulk else 'operation'}", room=1.2)


def bar(axes: Axes, position: int, values: Sequence[float], colour: str) -> None:
    """A median, and a line from the least to the greatest."""
    axes.barh(position, statistics.median(values), 0.65, color=colour)
    axes.plot([min(values), max(values)], [position, position], color="black", linewidth=1.2)


def label(axes: Axes, position: int, end: float, text: str) -> None:
    """Text behind the end of a bar."""
    axes.annotate(
        text,
        (end, position),
        (4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
    )


def finish(axes: Axes, subjects: Sequence[str], label: str, *, room: float) -> None:
    """Names, a label and room for the text behind the longest bar."""
    axes.set_yticks(range(len(subjects)), subjects)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlim(right=axes.get_xlim()[1] * room)
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)


def colour(results: Results, subject: str) -> str:
    """Ours, or that of a peer."""
    return _OURS if subject in results.ours else _PEERS
