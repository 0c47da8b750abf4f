"""What is computed from samples; pure."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.loads import Outcome, percentile
from bench.measure import Usage, busy_seconds, own_seconds
from bench.report import comparison_table
from bench.results import Results, document, metrics_of, round_ratios, write
from bench.rounds import rotated
from edgemesh.model.errors import OperatorError

USAGE = Usage(machine_seconds=2.0, subject_seconds=0.5, rss_bytes=1 << 20)


def results(**samples: list[float]) -> Results:
    made = Results("relay", 3, ours=("edgemesh",))
    for subject, values in samples.items():
        for value in values:
            made.add("rr-1", subject, {"requests_per_second": value, "errors": 0})
    return made


def test_a_ratio_is_the_median_of_the_ratios_within_each_round() -> None:
    # Slow rounds hit both: by medians it would be 20 / 30, while round by round it is 1.
    made = results(edgemesh=[10, 20, 300], haproxy=[10, 30, 100])
    (ratio,) = document(made)["ratios"]
    assert ratio == {
        "case": "rr-1",
        "metric": "requests_per_second",
        "of": "edgemesh",
        "to": "haproxy",
        "median": 1.0,
    }


def test_peers_are_compared_with_direct_only_and_errors_with_nobody() -> None:
    made = results(edgemesh=[1], haproxy=[1], direct=[1])
    pairs = [(ratio["of"], ratio["to"]) for ratio in document(made)["ratios"]]
    assert pairs == [("edgemesh", "direct"), ("edgemesh", "haproxy"), ("haproxy", "direct")]


def test_a_round_without_a_divisor_is_left_out_of_a_ratio() -> None:
    assert round_ratios([1, 2, 3], [2, 0, 3]) == [0.5, 1.0]


def test_a_row_holds_every_sample_and_what_sums_them_up() -> None:
    row = document(results(edgemesh=[3, 1, 8]))["rows"][0]
    assert row == {
        "case": "rr-1",
        "subject": "edgemesh",
        "metric": "requests_per_second",
        "median": 3,
        "min": 1,
        "max": 8,
        "samples": [3, 1, 8],
    }


def test_the_document_is_written_as_json_under_the_name_of_the_bench(tmp_path: Path) -> None:
    made = results(edgemesh=[1])
    path = write(made, tmp_path / "new")
    assert path == tmp_path / "new" / "relay.json"
    assert json.loads(path.read_text()) == document(made)


@given(st.lists(st.integers(1, 1000), min_size=1), st.floats(0.001, 1))
def test_a_percentile_is_the_least_value_that_so_many_operations_did_not_exceed(
    values: list[int], fraction: float
) -> None:
    latency = [(value, values.count(value)) for value in sorted(set(values))]
    rank = max(1, math.ceil(fraction * len(values)))
    assert percentile(latency, fraction) == sorted(values)[rank - 1] / 1e9


def test_round_trips_are_told_as_requests_with_latencies_and_their_cost() -> None:
    outcome = Outcome(
        seconds=2.0, operations=4, bytes=256, errors=1, first=5, latency=((1000, 3), (9000, 1))
    )
    assert metrics_of(outcome, USAGE, counts_bytes=False) == {
        "requests_per_second": 2.0,
        "latency_p50": 1e-6,
        "latency_p99": 9e-6,
        "machine_cpu_per_request": 0.5,
        "subject_cpu_per_request": 0.125,
        "rss_bytes": 1 << 20,
        "errors": 1,
    }


def test_a_bulk_load_is_told_in_bytes_and_its_cost_by_the_mebibyte() -> None:
    outcome = Outcome(seconds=2.0, operations=0, bytes=4 << 20, errors=0, first=0, latency=())
    no_process = Usage(machine_seconds=2.0, subject_seconds=None, rss_bytes=None)
    assert metrics_of(outcome, no_process, counts_bytes=True) == {
        "bytes_per_second": 2 << 20,
        "machine_cpu_per_request": 0.5,
        "errors": 0,
    }


def test_a_load_that_achieved_nothing_is_an_error_and_not_a_figure() -> None:
    outcome = Outcome(seconds=1.0, operations=0, bytes=0, errors=7, first=0, latency=())
    with pytest.raises(OperatorError, match="7 errors"):
        metrics_of(outcome, USAGE, counts_bytes=False)


def test_every_round_begins_with_another_subject() -> None:
    assert [rotated("ABC", number) for number in range(4)] == [
        ["A", "B", "C"],
        ["B", "C", "A"],
        ["C", "A", "B"],
        ["A", "B", "C"],
    ]


def test_the_machine_is_busy_neither_while_idle_nor_while_another_guest_runs() -> None:
    tick = 0.01
    stat = "cpu  1 10 100 9999 9999 1000 10000 9999 9 9\ncpu0 1 10 100 9999 9999 1 1 9999 9 9\n"
    assert busy_seconds(stat) == pytest.approx(11111 * tick)


def test_a_process_may_have_a_name_with_brackets_and_spaces() -> None:
    stat = "7 (a) S b) S 1 7 7 0 -1 4194304 1 2 3 4 100 200 300 400 20 0 1 0 5 6 7"
    assert own_seconds(stat) == pytest.approx(10.0)


def test_the_table_has_a_line_for_each_subject_with_its_ratio_to_haproxy() -> None:
    table = comparison_table(results(haproxy=[100, 100, 100], edgemesh=[50, 60, 200]))
    (line,) = [line for line in table.splitlines() if "edgemesh" in line]
    assert line.split()[:6] == ["rr-1", "edgemesh", "60/s", "50/s", "-", "200/s"]
    assert "0.60" in line.split()
