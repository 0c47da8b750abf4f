"""The bench ``http``, as short as it gets: wrk knows no less than a second."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from bench.benches import Options
from bench.benches.http import BENCH
from bench.loads import Timing
from bench.results import document
from edgemesh.lab import network

pytestmark = pytest.mark.root

# HAProxy is there where benches are run; the other peers come with the tests.
SUBJECTS = ("edgemesh", "direct", "nginx", *(["haproxy"] if shutil.which("haproxy") else []))


async def test_requests_of_every_protocol_are_answered_through_every_subject_that_speaks_it(
    directory: Path,
) -> None:
    cases = ("keepalive-1", "h2-8x16", "grpc-64")
    results = await BENCH.run(Options(1, Timing(0, 1.0), cases, SUBJECTS, directory))
    rows = {(r["case"], r["subject"], r["metric"]): r["median"] for r in document(results)["rows"]}
    measured = {(case, subject) for case in cases for subject in SUBJECTS} - {
        ("h2-8x16", "nginx"),
        ("grpc-64", "nginx"),
    }
    assert {(case, subject) for case, subject, _ in rows} == measured
    for case, subject in measured:
        assert rows[case, subject, "errors"] == 0
        assert rows[case, subject, "requests_per_second"] > 0
        assert 0 < rows[case, subject, "latency_p50"] <= rows[case, subject, "latency_p99"]
        assert rows[case, subject, "machine_cpu_per_request"] > 0
    BENCH.draw(results, directory / "http.png")
    assert "keepalive-1" in BENCH.tell(results)
    assert network.namespaces(f"bench{os.getpid()}-") == []
