"""What a bench that was killed has left is gone once another one has begun."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import trio

from bench.remains import remove_remains
from bench.topology import topology
from edgemesh.kernel.mounts import mount_point
from edgemesh.lab import network

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]


def killed_bench() -> int:
    """Kill a bench amid its measurements; its process id."""
    words = ["relay", "--seconds", "60", "--subjects", "direct", "--cases", "rr-1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"round 1 of 10: rr-1\n"
        process.kill()
    return process.pid


def pids_in(namespace: str) -> list[str]:
    command = ["ip", "netns", "pids", namespace]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()


def remains(pid: int) -> list[str]:
    hierarchy = mount_point("cgroup2")
    return [
        *network.namespaces(f"bench{pid}-"),
        *(path.name for path in Path(tempfile.gettempdir()).glob(f"bench-{pid}-*")),
        *(path.name for path in (hierarchy.glob(f"bench{pid}-*") if hierarchy else ())),
    ]


def test_nothing_of_a_bench_that_was_killed_is_left_when_another_begins() -> None:
    pid = killed_bench()
    endpoints = pids_in(f"bench{pid}-direct-server")
    assert endpoints
    assert remains(pid)
    trio.run(remove_remains)
    assert remains(pid) == []
    # One that has ended and was not waited for yet has a number still, but no namespace.
    assert not [one for one in endpoints if Path(f"/proc/{one}/ns/net").exists()]


async def test_what_belongs_to_a_bench_that_runs_is_left_alone() -> None:
    async with topology("living") as row:
        await remove_remains()
        assert row.node in network.namespaces(f"bench{os.getpid()}-")
