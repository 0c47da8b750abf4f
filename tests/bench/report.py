"""The results as a table for people."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from bench.results import Results, round_ratios

# What the other columns are ratios to, where it was measured.
_BASES = ("haproxy", "direct", "tls")
_DURATIONS = (
    "latency_p50",
    "latency_p99",
    "machine_cpu_per_request",
    "subject_cpu_per_request",
)


def comparison_table(results: Results) -> str:
    """One line for each case and subject: how fast, against whom, how late, how dear."""
    bases = [base for base in _BASES if any(base in results.subjects(c) for c in results.cases)]
    heads = ["case", "subject", "median", "min - max", *(f"/ {base}" for base in bases)]
    heads += ["p50", "p99", "machine CPU/op", "subject CPU/op", "memory", "errors"]
    lines = [heads]
    for case in results.cases:
        lines += [_line(results, case, subject, bases) for subject in results.subjects(case)]
    explanation = (
        "/ NAME: median of the per-round ratios of throughput. CPU of the whole machine counts"
        " load, endpoints\nand kernel too."
    )
    if any(rate_metric(results, case) == "bytes_per_second" for case in results.cases):
        explanation += " An operation of a bulk case is one MiB."
    return f"{align(lines)}\n\n{explanation}"


def _line(results: Results, case: str, subject: str, bases: Sequence[str]) -> list[str]:
    metric = rate_metric(results, case)
    rates = results.get(case, subject, metric)
    show = bytes_rate if metric == "bytes_per_second" else rate
    line = [
        case,
        subject,
        show(statistics.median(rates)),
        f"{show(min(rates))} - {show(max(rates))}",
    ]
    for base in bases:
        divisors = results.get(case, base, metric)
        ratios = round_ratios(rates, divisors) if divisors and base != subject else []
        line.append(f"{statistics.median(ratios):.2f}" if ratios else "")
    line += [_median(results.get(case, subject, name), duration) for name in _DURATIONS]
    line.append(_median(results.get(case, subject, "rss_bytes"), memory))
    line.append(f"{sum(results.get(case, subject, 'errors')):.0f}")
    return line


def rate_metric(results: Results, case: str) -> str:
    """Which metric tells how fast a case went."""
    names = {series.metric for series in results.samples if series.case == case}
    return "bytes_per_second" if "bytes_per_second" in names else "requests_per_second"


def _median(values: Sequence[float], show: Callable[[float], str]) -> str:
    return show(statistics.median(values)) if values else ""


def rate(value: float) -> str:
    """Operations a second."""
    return f"{value:,.0f}/s"


def bytes_rate(value: float) -> str:
    """Bytes a second, in the unit of network interfaces."""
    return f"{value * 8 / 1e9:.2f} Gbit/s"


def duration(seconds: float) -> str:
    """Seconds in a unit that suits them."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def memory(size: float) -> str:
    """Bytes in mebibytes."""
    return f"{size / 2**20:.0f} MiB"


def align(lines: Sequence[Sequence[str]]) -> str:
    """Columns under each other: the first two to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
