"""Samples, what follows from them, and the JSON that a bench leaves behind. Pure but for writing.

A ratio is the median of the ratios within each round: noise that lasts longer than a round hits
both sides of it, where a ratio of two medians would take them from different moments.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bench.loads import Outcome, percentile
from bench.measure import Usage
from edgemesh.model.errors import OperatorError

# Bulk has no requests; there, processor time is given for each mebibyte.
BULK_REQUEST_BYTES = 1024 * 1024


class Series(NamedTuple):
    """What one row of the results is about."""

    case: str
    subject: str
    metric: str


@dataclass(slots=True)
class Results:
    """All samples of a bench.

    Args:
        bench: its name.
        rounds: how many samples each series has.
        ours: the subjects that are this project; ratios are of them to every other.
        base: when set, ratios are within each subject instead: of every case to this one.
        samples: one value a round, in the order of the rounds.
    """

    bench: str
    rounds: int
    ours: tuple[str, ...]
    base: str = ""
    samples: dict[Series, list[float]] = field(default_factory=dict)

    def add(self, case: str, subject: str, metrics: Mapping[str, float]) -> None:
        """Append what one round measured."""
        for metric, value in metrics.items():
            self.samples.setdefault(Series(case, subject, metric), []).append(value)

    def get(self, case: str, subject: str, metric: str) -> Sequence[float]:
        """The samples of one series, none when it was not measured."""
        return self.samples.get(Series(case, subject, metric), ())

    def to_base(self, case: str, subject: str, metric: str) -> Sequence[float]:
        """The ratios of one series to that of the base case, round by round."""
        of, to = self.get(case, subject, metric), self.get(self.base, subject, metric)
        return round_ratios(of, to) if to else ()

    @property
    def cases(self) -> list[str]:
        """In the order in which they were measured."""
        return _unique(series.case for series in self.samples)

    def subjects(self, case: str) -> list[str]:
        """Those that were measured in a case, ours first, then by name."""
        names = _unique(series.subject for series in self.samples if series.case == case)
        return sorted(names, key=lambda name: (name not in self.ours, name))


def metrics_of(outcome: Outcome, usage: Usage, *, counts_bytes: bool) -> dict[str, float]:
    """The metrics of one measurement, by their fixed names.

    Args:
        outcome: what the load achieved.
        usage: what it cost meanwhile.
        counts_bytes: the load is about bytes: a "request" is then one mebibyte.

    Raises:
        OperatorError: nothing was achieved, so nothing can be divided by it.
    """
    requests = outcome.bytes / BULK_REQUEST_BYTES if counts_bytes else outcome.operations
    if not requests:
        raise OperatorError(f"nothing came through, with {outcome.errors} errors")
    metrics: dict[str, float] = {}
    if counts_bytes:
        metrics["bytes_per_second"] = outcome.bytes / outcome.seconds
    else:
        metrics["requests_per_second"] = outcome.operations / outcome.seconds
    if outcome.latency:
        metrics["latency_p50"] = percentile(outcome.latency, 0.5)
        metrics["latency_p99"] = percentile(outcome.latency, 0.99)
    metrics["machine_cpu_per_request"] = usage.machine_seconds / requests
    if usage.subject_seconds is not None:
        metrics["subject_cpu_per_request"] = usage.subject_seconds / requests
    if usage.rss_bytes is not None:
        metrics["rss_bytes"] = usage.rss_bytes
    metrics["errors"] = outcome.errors
    return metrics


def round_ratios(of: Sequence[float], to: Sequence[float]) -> list[float]:
    """The ratio within each round; rounds without a divisor are left out."""
    return [ours / theirs for ours, theirs in zip(of, to, strict=True) if theirs]


def document(results: Results) -> dict[str, Any]:
    """The results as the JSON that is written."""
    return {
        "bench": results.bench,
        "rounds": results.rounds,
        "machine": {"kernel": platform.release(), "cores": os.cpu_count()},
        "rows": [_row(series, values) for series, values in results.samples.items()],
        "ratios": list(_ratios(results)),
    }


def write(results: Results, directory: Path) -> Path:
    """Write ``NAME.json`` into a directory, which is made when there is none."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{results.bench}.json"
    path.write_text(json.dumps(document(results), indent=1) + "\n")
    return path


def _row(series: Series, values: Sequence[float]) -> dict[str, Any]:
    return {
        **series._asdict(),
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "samples": list(values),
    }


def _ratios(results: Results) -> Iterable[dict[str, Any]]:
    return _case_ratios(results) if results.base else _subject_ratios(results)


def _case_ratios(results: Results) -> Iterable[dict[str, Any]]:
    for case, subject, metric in results.samples:
        ratios = results.to_base(case, subject, metric)
        if metric != "errors" and case != results.base and ratios:
            names = {"case": case, "subject": subject, "metric": metric}
            yield {**names, "of": case, "to": results.base, "median": statistics.median(ratios)}


def _subject_ratios(results: Results) -> Iterable[dict[str, Any]]:
    for (case, of, metric), values in results.samples.items():
        if metric == "errors":
            continue
        for to in results.subjects(case):
            if to == of or (of not in results.ours and to != "direct"):
                continue
            divisors = results.get(case, to, metric)
            ratios = round_ratios(values, divisors) if divisors else []
            if ratios:
                median = statistics.median(ratios)
                yield {"case": case, "metric": metric, "of": of, "to": to, "median": median}


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
