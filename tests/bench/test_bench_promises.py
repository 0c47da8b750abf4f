"""What is told of results that stand beside a promise; pure."""

from __future__ import annotations

from pathlib import Path

from bench.promises import Promise, draw_promises, promise_table
from bench.results import Results, document

ABSOLUTE = Promise("latency_p99", 0.5, "how late", "{:.1f} s".format)
RELATIVE = Promise("latency_p99", 2, "how late, by quiet", "{:.2f}".format, relative=True)


def results() -> Results:
    made = Results("neighbours", 3, ours=("edgemesh",), base="quiet")
    for quiet, noisy in ((1, 1), (1, 3), (4, 6)):
        made.add("quiet", "edgemesh", {"latency_p99": quiet, "errors": 0})
        made.add("noisy", "edgemesh", {"latency_p99": noisy, "errors": 0})
    return made


def rows(table: str) -> list[list[str]]:
    return [line.split() for line in table.splitlines()[1:]]


def test_ratios_to_a_base_are_within_a_subject_and_a_round() -> None:
    made = results()
    made.add("quiet", "haproxy", {"latency_p99": 2})
    made.add("noisy", "haproxy", {"latency_p99": 1})
    common = {"case": "noisy", "metric": "latency_p99", "of": "noisy", "to": "quiet"}
    assert document(made)["ratios"] == [
        {**common, "subject": "edgemesh", "median": 1.5},
        {**common, "subject": "haproxy", "median": 0.5},
    ]


def test_a_promise_about_ratios_is_told_by_their_median_and_not_of_the_base() -> None:
    (row,) = rows(promise_table(results(), [RELATIVE]))
    assert row[:7] == ["noisy", "edgemesh", "1.50", "1.00", "-", "3.00", "<"]


def test_a_promise_about_a_metric_is_told_of_every_case_that_has_it() -> None:
    made = results()
    made.add("other", "edgemesh", {"rss_bytes": 1})
    table = rows(promise_table(made, [ABSOLUTE]))
    assert [row[0] for row in table] == ["quiet", "noisy"]


def test_a_plot_has_a_panel_for_each_promise_and_fits_several_subjects(tmp_path: Path) -> None:
    made = results()
    for _ in range(3):
        made.add("quiet", "haproxy", {"latency_p99": 1})
        made.add("noisy", "haproxy", {"latency_p99": 9})
    draw_promises(made, [ABSOLUTE, RELATIVE], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
