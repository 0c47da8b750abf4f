"""Real EdgeMesh manifests of several endpoints, unmodified: how their calls are spread."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
import trio
from lab_homes import SHARED_MANIFESTS, manifest, pods_of, unique_home
from requirement import unmet

from edgemesh.lab import cluster, rollout
from edgemesh.lab.network import command_with_resolver
from edgemesh.lab.state import Home, load
from edgemesh.lab.targets import find_target

pytestmark = pytest.mark.root

REPLICAS = 3
CALLS = 60
URL = f"http://hostname-lb-svc.default:12345/[1-{CALLS}]"


@pytest.fixture(scope="module")
def lab() -> Iterator[Home]:
    """Two edge nodes and the cloud, with somebody who calls on each side."""
    if not SHARED_MANIFESTS.is_dir():
        unmet(f"no manifests in {SHARED_MANIFESTS}")
    with unique_home() as place:
        trio.run(cluster.up, place, 2)
        apply(place, "edgezone")
        apply(place, "cloudzone")
        yield place


def apply(lab: Home, name: str) -> None:
    trio.run(rollout.apply, lab, manifest(SHARED_MANIFESTS / f"{name}.yaml"))


def delete(lab: Home, name: str) -> None:
    keys = [one.key for one in manifest(SHARED_MANIFESTS / f"{name}.yaml")]
    trio.run(rollout.delete, lab, keys)


def execute(lab: Home, word: str, *argv: str) -> str:
    target = find_target(lab, load(lab), word)
    done = subprocess.run(
        command_with_resolver(target.network_namespace, argv),
        capture_output=True,
        text=True,
        check=False,
        env=dict(target.environment),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def calls(lab: Home, caller: str) -> list[str]:
    """Who answered the calls that a pod has made one by one, each by a connection of its own."""
    argv = ["curl", "-sS", "-m", "10", "-H", "Connection: close", URL]
    return execute(lab, caller, *argv).split()


def replicas(lab: Home) -> set[str]:
    return {pod.key.name for pod in pods_of(load(lab), "hostname-lb-edge")}


@pytest.fixture
def balanced(lab: Home, request: pytest.FixtureRequest) -> Iterator[Home]:
    """A manifest is applied, and deleted afterwards: the next one has the same names."""
    apply(lab, request.param)
    yield lab
    delete(lab, request.param)


@pytest.mark.parametrize(
    "balanced", ["hostname-lb-default", "hostname-lb-roundrobin"], indirect=True
)
@pytest.mark.parametrize("side", ["edge", "cloud"])
def test_calls_are_spread_evenly_by_default_and_by_round_robin(balanced: Home, side: str) -> None:
    answered = Counter(calls(balanced, f"busybox-sleep-{side}"))
    assert answered == dict.fromkeys(replicas(balanced), CALLS // REPLICAS)


@pytest.mark.parametrize(
    "balanced",
    [
        "hostname-lb-random",
        "hostname-lb-random-gateway",
        "hostname-lb-random-gateway-route",
    ],
    indirect=True,
)
def test_random_calls_reach_every_endpoint_with_and_without_a_gateway(balanced: Home) -> None:
    # That one of three is left out by chance happens once in 12,000,000,000 times, and that
    # they take turns never.
    answered = calls(balanced, "busybox-sleep-edge")
    assert len(answered) == CALLS
    assert set(answered) == replicas(balanced)
    assert answered[REPLICAS:] != answered[:-REPLICAS]


def test_the_echo_of_the_manifest_greets_and_echoes(lab: Home) -> None:
    apply(lab, "tcp-echo-service")
    (pod,) = pods_of(load(lab), "tcp-echo-deployment")
    program = (
        "import socket; "
        "connection = socket.create_connection(('tcp-echo-service.default', 2701), 10);"
        "stream = connection.makefile('rwb'); "
        "print(*[stream.readline().decode() for _ in range(5)]); "
        "stream.write(b'hello\\n'); stream.flush(); print(stream.readline().decode())"
    )
    said = execute(lab, "busybox-sleep-edge", sys.executable, "-S", "-c", program)
    assert f"Running on Pod {pod.key.name}." in said
    assert said.split()[-1] == "hello"
    delete(lab, "tcp-echo-service")
