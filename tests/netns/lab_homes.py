"""What tests of whole labs share: calls from within one, and waiting for a state."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import trio

from edgemesh.lab import cluster
from edgemesh.lab.network import command_with_resolver
from edgemesh.lab.state import Home, Pod, State, home
from edgemesh.model.settings import ManifestLimits
from edgemesh.wire.manifest import ManifestObject, read_manifest

SHARED_MANIFESTS = Path(__file__).parents[3] / "shared" / "manifests" / "edgemesh"


@contextmanager
def unique_home() -> Iterator[Home]:
    """A lab of its own name, taken down afterwards. Only for the main thread, outside trio."""
    place = home(f"test-{uuid4().hex[:8]}")
    try:
        yield place
    finally:
        trio.run(cluster.down, place)


def manifest(path: Path) -> list[ManifestObject]:
    return read_manifest(path.read_bytes(), path.name, ManifestLimits())


def manifest_of(text: str) -> list[ManifestObject]:
    return read_manifest(text.encode(), "test.yaml", ManifestLimits())


def pods_of(state: State, deployment: str) -> list[Pod]:
    return [pod for pod in state.pods if pod.owner.name == deployment]


def curl(network_namespace: str, url: str, seconds: float = 20.0) -> str:
    """What a GET answers, "" when nobody does in time."""
    argv = ["curl", "-s", "-g", "-m", f"{seconds:g}", url]
    done = subprocess.run(
        command_with_resolver(network_namespace, argv), capture_output=True, check=False, text=True
    )
    return done.stdout.strip()


def wait_for(state: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Look at a state of another process until it is reached."""
    deadline = time.monotonic() + seconds
    while not state():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        # Who looks without pause takes the processor from whom it waits for.
        os.sched_yield()


def pids_in(network_namespace: str) -> list[int]:
    shown = subprocess.run(
        ["ip", "netns", "pids", network_namespace], capture_output=True, check=True, text=True
    )
    return [int(number) for number in shown.stdout.split()]
