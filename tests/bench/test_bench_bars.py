"""What is told of a comparison with peers: ratios, errors, and whether bars were reached; pure."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.bars import Bar, bar_lines, error_lines, ratio, ratio_table
from bench.benches.http import BARS
from bench.http_plot import draw_requests
from bench.results import Results

FAST = Bar("k", "requests_per_second", "haproxy", at_least=0.95)
CHEAP = Bar("k", "machine_cpu_per_request", "haproxy", at_most=1.15)


def results(errors: float = 0) -> Results:
    made = Results("http", 3, ours=("edgemesh",))
    for rate, factor in ((100, 1), (300, 0.5), (50, 2)):
        for subject, share in (("edgemesh", factor), ("haproxy", 1), ("direct", 2)):
            metrics = {
                "requests_per_second": rate * share,
                "latency_p50": 1e-4 / share,
                "latency_p99": 1e-3 / share,
                "machine_cpu_per_request": 2e-5 / share,
                "errors": errors if subject == "haproxy" else 0,
            }
            if subject != "direct":
                metrics |= {"subject_cpu_per_request": 1e-5, "rss_bytes": 2**24}
            made.add("k", subject, metrics)
    return made


def test_a_ratio_to_a_peer_is_the_median_of_those_within_the_rounds() -> None:
    assert ratio(results(), "k", "requests_per_second", "haproxy") == 1
    assert ratio(results(), "k", "requests_per_second", "direct") == 0.5
    assert ratio(results(), "k", "requests_per_second", "envoy") is None
    assert ratio(results(), "other", "requests_per_second", "haproxy") is None


@pytest.mark.parametrize(("value", "verdict"), [(0.95, True), (0.94, False)])
def test_a_bar_from_below_includes_its_bound(value: float, verdict: bool) -> None:
    assert FAST.holds(value) is verdict


@pytest.mark.parametrize(("value", "verdict"), [(1.15, True), (1.16, False)])
def test_a_bar_from_above_includes_its_bound(value: float, verdict: bool) -> None:
    assert CHEAP.holds(value) is verdict


def test_each_bar_that_was_measured_has_a_verdict() -> None:
    high = Bar("k", "requests_per_second", "haproxy", at_least=1.01)
    elsewhere = Bar("h2", "requests_per_second", "haproxy", at_least=1)
    lines = bar_lines(results(), [FAST, CHEAP, high, elsewhere]).splitlines()[1:]
    told = [(line.split()[0], *line.split()[-3:]) for line in lines]
    assert told == [
        ("k", ">=", "0.95", "held"),
        ("k", "<=", "1.15", "held"),
        ("k", ">=", "1.01", "MISSED"),
    ]


def test_bars_of_what_was_not_measured_are_not_spoken_of() -> None:
    assert bar_lines(results(), []) == ""


def test_the_table_of_ratios_has_a_line_for_each_peer() -> None:
    lines = [line.split() for line in ratio_table(results()).splitlines()]
    assert lines[1][:5] == ["k", "edgemesh", "/", "direct", "0.50"]
    assert lines[2][:5] == ["k", "edgemesh", "/", "haproxy", "1.00"]
    assert ratio_table(Results("http", 1, ours=("edgemesh",))) == ""


def test_errors_are_told_where_they_happened() -> None:
    assert error_lines(results()) == ""
    assert error_lines(results(2)).startswith("6 ERRORS in k by haproxy:")


def test_the_bars_of_the_bench_are_those_that_were_promised() -> None:
    assert {(bar.case, bar.metric, bar.to, bar.bound) for bar in BARS} == {
        ("keepalive-64", "requests_per_second", "haproxy", ">= 0.95"),
        ("keepalive-64", "requests_per_second", "envoy", ">= 2.5"),
        ("keepalive-64", "machine_cpu_per_request", "haproxy", "<= 1.15"),
        ("keepalive-1", "latency_p50", "haproxy", "<= 0.8"),
        ("h2-8x16", "requests_per_second", "envoy", ">= 2.5"),
        ("h2-8x16", "requests_per_second", "haproxy", ">= 0.75"),
    }


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    draw_requests(results(), tmp_path / "http.png")
    assert (tmp_path / "http.png").read_bytes().startswith(b"\x89PNG")
