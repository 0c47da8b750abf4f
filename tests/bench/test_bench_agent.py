"""The benches that need a whole agent, as short as they get."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.benches import Options, neighbour, relay, scale
from bench.loads import Timing
from bench.results import document
from edgemesh.lab import network
from edgemesh.model.errors import OperatorError

pytestmark = pytest.mark.root


def options(directory: Path, *cases: str, seconds: float = 1.0) -> Options:
    return Options(1, Timing(0.05, seconds), cases, ("edgemesh",), directory)


async def test_an_agent_is_run_fed_and_measured_like_any_subject(directory: Path) -> None:
    results = await relay.BENCH.run(options(directory, "rr-1", "crr-32", "bulk-1"))
    rows = {(row["case"], row["metric"]): row["median"] for row in document(results)["rows"]}
    for case in ("rr-1", "crr-32", "bulk-1"):
        assert rows[case, "errors"] == 0
        assert rows[case, "subject_cpu_per_request"] >= 0
        assert rows[case, "rss_bytes"] > 0
    assert network.namespaces(f"bench{os.getpid()}-") == []


@pytest.mark.long
async def test_the_scale_of_a_few_services_has_every_metric(directory: Path) -> None:
    results = await scale.BENCH.run(options(directory, "services-20"))
    assert {row["metric"] for row in document(results)["rows"]} == {
        "apply_seconds",
        "apply_rss_bytes",
        "start_seconds",
        "change_seconds",
        "decision_seconds",
        "rss_bytes",
    }
    scale.BENCH.draw(results, directory / "scale.png")
    assert scale.BENCH.tell(results).count("services-20") == 6


async def test_a_neighbour_is_measured_alone_and_beside_who_misbehaves(directory: Path) -> None:
    # On a busy machine it takes some tenths of a second until the crowd is there.
    results = await neighbour.BENCH.run(options(directory, "loris", seconds=1))
    rows = {row["metric"]: row["median"] for row in document(results)["rows"]}
    assert rows["errors"] == 0
    assert rows["latency_p99_ratio"] == rows["latency_p99"] / rows["latency_p99_alone"]
    neighbour.BENCH.draw(results, directory / "neighbour.png")
    assert neighbour.BENCH.tell(results).count("loris") == 3
    assert network.namespaces(f"bench{os.getpid()}-") == []


async def test_a_scale_that_is_no_number_of_services_is_refused(directory: Path) -> None:
    with pytest.raises(OperatorError, match="no case 'services-many'"):
        await scale.BENCH.run(options(directory, "services-many"))
