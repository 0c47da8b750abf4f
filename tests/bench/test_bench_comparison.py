"""A whole comparison, as short as it gets: what it leaves behind, and what it does not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench.benches import Options
from bench.benches.relay import BENCH
from bench.endpoints import StreamEndpoints
from bench.loads import Timing, compile_load
from bench.processes import started
from bench.results import Results, write
from bench.rounds import Comparison, compare
from bench.subjects import Running, Site, at_service_addresses
from bench.topology import service
from edgemesh.lab import network
from edgemesh.model.errors import OperatorError

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
PEERS = ("direct", "haproxy") if shutil.which("haproxy") else ("direct",)


def options(directory: Path, **changes: tuple[str, ...]) -> Options:
    selection = {"cases": ("rr-1", "bulk-1"), "subjects": PEERS, **changes}
    return Options(rounds=1, timing=Timing(0.05, 1.0), directory=directory, **selection)


async def test_a_comparison_leaves_its_json_and_its_plot_and_no_namespace(tmp_path: Path) -> None:
    results = await BENCH.run(options(tmp_path))
    path = write(results, tmp_path / "out")
    BENCH.draw(results, path.with_suffix(".png"))

    document = json.loads(path.read_text())
    assert set(document) == {"bench", "rounds", "machine", "rows", "ratios"}
    assert (document["bench"], document["rounds"]) == ("relay", 1)
    assert document["machine"] == {"kernel": os.uname().release, "cores": os.cpu_count()}
    measured = {(row["case"], row["subject"], row["metric"]) for row in document["rows"]}
    for subject in PEERS:
        for metric in ("requests_per_second", "latency_p50", "latency_p99", "errors"):
            assert ("rr-1", subject, metric) in measured
        for metric in ("bytes_per_second", "machine_cpu_per_request", "errors"):
            assert ("bulk-1", subject, metric) in measured
    for row in document["rows"]:
        assert len(row["samples"]) == 1
        assert row["metric"] != "errors" or row["samples"] == [0]
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert network.namespaces(f"bench{os.getpid()}-") == []


async def test_a_subject_that_ends_is_named_with_its_last_words(tmp_path: Path) -> None:
    @asynccontextmanager
    async def broken(site: Site) -> AsyncIterator[Running]:
        words = ["sh", "-c", "echo one; echo it is broken >&2; exit 3"]
        async with started(site.topology.node, words, site.log) as process:
            yield at_service_addresses("broken", site, process)

    program = await compile_load(tmp_path)
    echo = StreamEndpoints(program, "echo", service("echo", "10.96.0.10", 9000))
    comparison = Comparison((), {"broken": broken}, [echo])
    results = Results("relay", 1, ours=())
    with pytest.raises(OperatorError, match=r"^broken ended with status 3: it is broken$"):
        await compare(comparison, results, Timing(0, 0.1), tmp_path)
    assert network.namespaces(f"bench{os.getpid()}-") == []


@pytest.mark.parametrize("what", ["cases", "subjects"])
async def test_an_unknown_name_is_refused_with_those_that_there_are(
    tmp_path: Path, what: str
) -> None:
    with pytest.raises(OperatorError, match=r"no \w+ 'nonsense' \(there are (rr-1|edgemesh), "):
        await BENCH.run(options(tmp_path, **{what: ("nonsense",)}))


def test_an_interrupt_ends_all_and_writes_nothing(tmp_path: Path) -> None:
    words = ["relay", "--seconds", "60", "--subjects", "direct", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        assert process.stderr.readline() == "round 1 of 10: rr-1\n"
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert process.returncode == 130
    assert "nothing is left behind" in told
    assert not (tmp_path / "out").exists()
    assert network.namespaces(f"bench{process.pid}-") == []


def test_an_unknown_bench_is_one_line_with_those_that_there_are() -> None:
    done = subprocess.run(
        [ROOT / "scripts/bench", "relya"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "'relya'" in line
    assert "relay" in line.split()
