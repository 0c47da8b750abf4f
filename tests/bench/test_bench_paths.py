"""The bench ``paths``, as short as it gets, and what it goes by."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.benches import Options
from bench.benches.paths import BARS, BENCH
from bench.loads import Timing
from bench.results import Results, document
from bench.subjects.edgemesh import counted_endpoints, reported_services
from edgemesh.lab import network

CASES = ("rr-1", "bulk-1", "wrk-64")
SUBJECTS = ("relay", "direct", "dnat")
METRICS = """\
# TYPE edgemesh_connections_total counter
edgemesh_connections_total{service="a",endpoint="10.0.0.1:80",path="relay"} 3
edgemesh_connections_total{service="a",endpoint="10.0.0.2:80",path="relay"} 0
edgemesh_connections_total{service="a",endpoint="10.0.0.3:80",path="connect"} 1
edgemesh_requests_total{service="b",endpoint="10.0.0.4:80",path="relay"} 1
"""
LOG = """\
{"event":"ready","level":"info"}
{"event":"flow","transport":"TCP","service":"default/a:80","endpoint":"10.0.0.1:80","path":"relay"}
{"event":"flow","transport":"TCP","service":"default/b:80","endpoint":"10.0.0.1:80","path":"splice"}
"""


@pytest.mark.root
async def test_each_case_is_measured_over_each_subject(directory: Path) -> None:
    results = await BENCH.run(Options(1, Timing(0, 1.0), CASES, SUBJECTS, directory))
    rows = {(r["case"], r["subject"], r["metric"]): r["median"] for r in document(results)["rows"]}
    assert {(case, subject) for case, subject, _ in rows} == {
        (case, subject) for case in CASES for subject in SUBJECTS
    }
    assert {value for (_, _, metric), value in rows.items() if metric == "errors"} == {0}
    BENCH.draw(results, directory / "paths.png")
    assert (directory / "paths.png").read_bytes().startswith(b"\x89PNG")
    assert network.namespaces(f"bench{os.getpid()}-") == []


def test_the_bars_are_those_that_were_promised() -> None:
    cases = ("rr-1", "rr-64", "crr-32", "bulk-1", "bulk-8", "wrk-64")
    rates = dict.fromkeys(cases, "requests_per_second") | {
        "bulk-1": "bytes_per_second",
        "bulk-8": "bytes_per_second",
    }
    assert {(bar.of, bar.case, bar.metric, bar.to, bar.bound) for bar in BARS} == {
        *(("connect", case, rates[case], "direct", ">= 0.95") for case in cases),
        *(("connect", case, rates[case], "dnat", ">= 1") for case in cases),
        ("splice", "rr-1", "latency_p50", "haproxy", "<= 1"),
        ("splice", "bulk-1", "bytes_per_second", "haproxy", ">= 1.3"),
        ("splice", "bulk-8", "bytes_per_second", "haproxy", ">= 1.3"),
        ("splice", "rr-1", "subject_cpu_per_request", "haproxy", "<= 0.1"),
        ("splice", "rr-64", "subject_cpu_per_request", "haproxy", "<= 0.1"),
        ("relay", "rr-64", "requests_per_second", "haproxy", ">= 0.9"),
    }


def test_each_bar_is_about_the_path_that_it_names() -> None:
    results = Results("paths", 1, ours=("connect", "splice", "relay"))
    for subject, rate in (("connect", 50), ("relay", 95), ("haproxy", 100), ("direct", 100)):
        metrics = {"requests_per_second": rate, "latency_p50": 1 / rate, "errors": 0}
        results.add("rr-64", subject, metrics)
    lines = [line.split() for line in BENCH.tell(results).splitlines() if " / " in line]
    told = [(line[2], line[4], line[5], line[-1]) for line in lines if line[0] == "rr-64"]
    assert told == [
        ("connect", "direct", "0.50", "MISSED"),
        ("relay", "haproxy", "0.95", "held"),
    ]


def test_only_what_was_counted_over_the_path_speaks_for_it() -> None:
    assert counted_endpoints(METRICS, "connections", "relay") == {"a": {"10.0.0.1:80"}}
    assert counted_endpoints(METRICS, "connections", "connect") == {"a": {"10.0.0.3:80"}}
    assert counted_endpoints(METRICS, "connections", "splice") == {}
    assert counted_endpoints(METRICS, "requests", "relay") == {"b": {"10.0.0.4:80"}}


def test_reports_tell_the_path_of_each_service() -> None:
    assert reported_services(LOG, "relay") == {"a"}
    assert reported_services(LOG, "splice") == {"b"}
    assert reported_services(LOG, "connect") == set()
