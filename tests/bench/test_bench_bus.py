"""The bench ``bus``, as short as it gets, and what it goes by."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

from bench.benches import Options
from bench.benches.bus import BARS, BENCH
from bench.endpoints import StreamEndpoints
from bench.loads import StreamLoad, Timing, compile_load
from bench.measure import Meter
from bench.results import Results, document
from bench.span import FAR_ADDRESS, HUB_ADDRESS, span
from bench.topology import Address, Service
from edgemesh.lab import network

ALONE = ("link-wrk-64", "link-streams-1000", "link-quiet", "link-stalled")
CALL = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), timeout=1)
except ConnectionRefusedError:
    sys.exit(0)
except OSError:
    sys.exit(1)
"""
COMPARED = ("link-rr", "link-bulk", "hub-rr", "hub-bulk")


@pytest.mark.root
@pytest.mark.long
@pytest.mark.timeout(240)
async def test_each_case_is_measured_by_link_or_by_hub_and_beside_its_peers(
    directory: Path,
) -> None:
    results = await BENCH.run(Options(1, Timing(0, 0.5), (), (), directory))
    rows = {(r["case"], r["subject"], r["metric"]): r["median"] for r in document(results)["rows"]}
    assert {(case, subject) for case, subject, _ in rows} == {
        *((case, subject) for case in COMPARED for subject in ("edgemesh", "direct", "tls")),
        *((case, subject) for case in ALONE for subject in ("edgemesh", "direct")),
    }
    assert {value for (_, _, metric), value in rows.items() if metric == "errors"} == {0}
    assert rows["link-bulk", "edgemesh", "latency_p50"] > 0
    assert BENCH.tell(results).count("held") + BENCH.tell(results).count("MISSED") == len(BARS)
    BENCH.draw(results, directory / "bus.png")
    assert (directory / "bus.png").read_bytes().startswith(b"\x89PNG")
    assert network.namespaces(f"bench{os.getpid()}-") == []


@pytest.mark.root
async def test_parted_nodes_reach_the_cloud_and_not_each_other() -> None:
    async def reaches(namespace: str, address: str) -> bool:
        # Nobody listens there: whoever is there refuses at once.
        command = network.command_in(namespace, [sys.executable, "-c", CALL, address])
        return (await trio.run_process(command, check=False)).returncode == 0

    async with span("parted", parted=True) as names:
        assert await reaches(names.node, HUB_ADDRESS)
        assert await reaches(names.far, HUB_ADDRESS)
        assert not await reaches(names.node, FAR_ADDRESS)


@pytest.mark.root
async def test_every_transfer_is_confirmed_and_timed(tmp_path: Path) -> None:
    program = await compile_load(tmp_path)
    receipt = Service("receipt", Address("127.0.0.1", 9000), (Address("127.0.0.1", 9000),))
    endpoints = StreamEndpoints(program, "receipt", receipt)
    async with span("transfers") as names, endpoints.serving(names.server, tmp_path):
        load = StreamLoad(program, "transfer", 2)
        outcome = await load.run(names.server, receipt.endpoints, Timing(0.1, 2.0), Meter())
    assert outcome.operations > 0
    assert outcome.errors == 0
    assert outcome.bytes == outcome.operations * 4 * 1024 * 1024
    assert sum(count for _, count in outcome.latency) == outcome.operations


def test_the_bars_are_those_that_were_promised() -> None:
    assert [(bar.case, bar.metric, bar.to, bar.to_case, bar.bound) for bar in BARS] == [
        ("link-bulk", "bytes_per_second", "tls", "", ">= 0.5"),
        ("link-rr", "latency_p50", "tls", "", "<= 3"),
        ("link-wrk-64", "requests_per_second", "direct", "", ">= 0.35"),
        ("link-stalled", "latency_p99", "edgemesh", "link-quiet", "<= 1.5"),
    ]


def test_a_stalled_stream_is_judged_by_what_its_neighbours_are_without_it() -> None:
    results = Results("bus", 1, ours=("edgemesh",))
    for case, late in (("link-quiet", 0.001), ("link-stalled", 0.002)):
        metrics = {"requests_per_second": 1000, "latency_p99": late, "errors": 0}
        results.add(case, "edgemesh", {**metrics, "machine_cpu_per_request": 1e-4})
    last = BENCH.tell(results).splitlines()[-1].split()
    assert last[0] == "link-stalled"
    assert last[-4:] == ["2.00", "<=", "1.5", "MISSED"]
