"""The bench ``neighbours``, as short as it gets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import misbehaviour
from bench.benches import Options
from bench.benches.neighbours import BENCH, DISTURBANCES
from bench.loads import Timing
from bench.results import document
from edgemesh.lab import network
from edgemesh.model.errors import OperatorError

pytestmark = pytest.mark.root


def options(directory: Path, *cases: str) -> Options:
    return Options(1, Timing(0.3, 0.3), cases, ("edgemesh",), directory)


@pytest.mark.long
async def test_a_neighbour_is_answered_beside_each_disturbance_and_compared_with_quiet(
    directory: Path,
) -> None:
    results = await BENCH.run(options(directory))
    assert {disturbance.kind for disturbance in DISTURBANCES.values()} == set(misbehaviour.KINDS)
    written = document(results)
    errors = {row["case"]: row["median"] for row in written["rows"] if row["metric"] == "errors"}
    assert errors == dict.fromkeys(["quiet", *DISTURBANCES], 0)
    ratios = {(r["of"], r["to"]) for r in written["ratios"] if r["metric"] == "latency_p99"}
    assert ratios == {(name, "quiet") for name in DISTURBANCES}
    BENCH.draw(results, directory / "neighbours.png")
    assert (directory / "neighbours.png").read_bytes().startswith(b"\x89PNG")
    assert "dead-silent" in BENCH.tell(results)
    assert network.namespaces(f"bench{os.getpid()}-") == []


async def test_an_unknown_disturbance_is_refused_with_those_that_there_are(
    directory: Path,
) -> None:
    with pytest.raises(OperatorError, match=r"no case 'noise' \(there are first-line, "):
        await BENCH.run(options(directory, "noise"))
