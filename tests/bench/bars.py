"""What is promised of the comparison with peers, and whether it was reached."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.report import align
from bench.results import Results, round_ratios

# Metrics of the table of ratios, as people call them.
_NAMES = {
    "requests_per_second": "requests/s",
    "latency_p50": "p50",
    "latency_p99": "p99",
    "machine_cpu_per_request": "machine CPU",
    "subject_cpu_per_request": "subject CPU",
    "rss_bytes": "memory",
}
_BAR_NAMES = {**_NAMES, "bytes_per_second": "bytes/s"}


@dataclass(frozen=True, slots=True)
class Bar:
    """A bound of the ratio of ours to a peer.

    Args:
        case, metric: where it is measured.
        to: the peer.
        at_least, at_most: the bound; exactly one is given.
        of: which of ours, "" for the first.
        to_case: where the peer is measured, "" for the same case.
    """

    case: str
    metric: str
    to: str
    at_least: float | None = None
    at_most: float | None = None
    of: str = ""
    to_case: str = ""

    def holds(self, ratio: float) -> bool:
        """Whether a ratio is within the bound."""
        return (self.at_least is None or ratio >= self.at_least) and (
            self.at_most is None or ratio <= self.at_most
        )

    @property
    def bound(self) -> str:
        """The bound, for people."""
        return f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"


def ratio(
    results: Results, case: str, metric: str, to: str, of: str = "", *, to_case: str = ""
) -> float | None:
    """The median of the per-round ratios of ours to a peer, None when one was not measured.

    Args:
        results: that hold both.
        case, metric: what is compared.
        to: the peer.
        of: which of ours, "" for the first.
        to_case: where the peer is measured, "" for the same case.
    """
    ours = results.get(case, of or results.ours[0], metric)
    divisors = results.get(to_case or case, to, metric)
    ratios = round_ratios(ours, divisors) if ours and divisors else []
    return statistics.median(ratios) if ratios else None


def ratio_table(results: Results) -> str:
    """A line for each case and peer, a column for each metric; "" when there is no peer."""
    ours = results.ours[0]
    lines = [
        [case, f"{ours} / {peer}", *(_ratio_text(results, case, metric, peer) for metric in _NAMES)]
        for case in results.cases
        for peer in results.subjects(case)
        if peer != ours and results.get(case, ours, "errors")
    ]
    return align([["case", "ratio of", *_NAMES.values()], *lines]) if lines else ""


def _ratio_text(results: Results, case: str, metric: str, peer: str) -> str:
    value = ratio(results, case, metric, peer)
    return "" if value is None else f"{value:.2f}"


def error_lines(results: Results) -> str:
    """A line for each case and subject that had errors, "" when there were none."""
    return "\n".join(
        f"{sum(errors):.0f} ERRORS in {case} by {subject}: what it reached there says little"
        for case in results.cases
        for subject in results.subjects(case)
        if sum(errors := results.get(case, subject, "errors"))
    )


def bar_lines(results: Results, bars: Sequence[Bar]) -> str:
    """The verdict about each bar that was measured."""
    lines = []
    for bar in bars:
        value = ratio(results, bar.case, bar.metric, bar.to, bar.of, to_case=bar.to_case)
        if value is not None:
            what = f"{_BAR_NAMES[bar.metric]} {bar.of or results.ours[0]} / {bar.to}"
            what += f" in {bar.to_case}" if bar.to_case else ""
            verdict = "held" if bar.holds(value) else "MISSED"
            lines.append([bar.case, what, f"{value:.2f}", bar.bound, verdict])
    return align([["case", "bar", "reached", "promised", "verdict"], *lines]) if lines else ""
