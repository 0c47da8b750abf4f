"""Real EdgeMesh manifests, unmodified: scheduled and run as they should be, and called by name."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from lab_homes import SHARED_MANIFESTS, manifest, pods_of, unique_home
from requirement import unmet

from edgemesh.lab import cluster, rollout
from edgemesh.lab.network import command_with_resolver
from edgemesh.lab.state import Home, load
from edgemesh.lab.targets import find_target
from edgemesh.meta.client import connect
from edgemesh.model.objects import ObjectKey
from edgemesh.model.settings import MetaSettings
from edgemesh.wire.message import Operation

pytestmark = pytest.mark.root

EDGES = {"edge-1", "edge-2"}
MANIFESTS = sorted(path.stem for path in SHARED_MANIFESTS.glob("*.yaml"))


@pytest.fixture
def lab() -> Iterator[Home]:
    if not MANIFESTS:
        unmet(f"no manifests in {SHARED_MANIFESTS}")
    with unique_home() as place:
        yield place


async def apply(lab: Home, *names: str) -> None:
    for name in names:
        await rollout.apply(lab, manifest(SHARED_MANIFESTS / f"{name}.yaml"))


def execute(lab: Home, word: str, *argv: str) -> str:
    """What ``edgemesh lab exec`` would print."""
    target = find_target(lab, load(lab), word)
    done = subprocess.run(
        command_with_resolver(target.network_namespace, argv),
        capture_output=True,
        text=True,
        check=False,
        env=dict(target.environment),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def python(lab: Home, word: str, program: str) -> str:
    return execute(lab, word, sys.executable, "-S", "-c", f"import socket; {program}")


async def ask(lab: Home, node: str, resource: str) -> Any:
    async with connect(lab.agent_socket(node), MetaSettings()) as client:
        return await client.request(Operation.QUERY, resource)


@pytest.mark.parametrize("name", MANIFESTS)
async def test_every_manifest_is_scheduled_and_run(lab: Home, name: str) -> None:
    await cluster.up(lab, 2, with_agents=False)
    await apply(lab, name)
    wanted = {
        one.key: one.body["spec"].get("replicas", 1)
        for one in manifest(SHARED_MANIFESTS / f"{name}.yaml")
        if one.key.kind == "Deployment"
    }
    pods = load(lab).pods
    assert Counter(pod.owner for pod in pods) == wanted
    assert all(pod.process.alive for pod in pods)
    for pod in pods:
        assert (pod.node in EDGES) == ("cloud" not in pod.owner.name)


async def test_replicas_of_a_manifest_are_spread_over_the_edge_nodes(lab: Home) -> None:
    await cluster.up(lab, 2, with_agents=False)
    await apply(lab, "hostname-lb-default")
    nodes = Counter(pod.node for pod in pods_of(load(lab), "hostname-lb-edge"))
    assert sorted(nodes.values()) == [1, 2]


async def test_a_pod_calls_http_services_by_name(lab: Home) -> None:
    await cluster.up(lab, 2)
    await apply(lab, "hostname", "edgezone")
    (pod,) = pods_of(load(lab), "hostname-edge")
    url = "http://hostname-svc.default:12345"
    assert execute(lab, "busybox-sleep-edge", "curl", "-sS", "-m", "30", url) == pod.key.name


async def test_a_pod_calls_udp_services_by_name(lab: Home) -> None:
    await cluster.up(lab, 2)
    await apply(lab, "hostname-udp", "edgezone")
    (pod,) = pods_of(load(lab), "hostname-edge")
    call = (
        "asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); asking.settimeout(30); "
        "asking.connect(('hostname-udp-svc.default', 12345)); asking.send(b'who?'); "
        "print(asking.recv(99).decode())"
    )
    assert python(lab, "busybox-sleep-edge", call) == pod.key.name


async def test_edge_and_cloud_call_each_others_echo_by_name(lab: Home) -> None:
    await cluster.up(lab, 2)
    await apply(lab, "edgezone", "cloudzone")
    for caller, zone, nodes in (("edge", "cloud", {"cloud"}), ("cloud", "edge", EDGES)):
        call = (
            f"connection = socket.create_connection(('tcp-echo-{zone}-svc.{zone}zone', 2701), 30);"
            "stream = connection.makefile('rwb'); "
            "greeting = [stream.readline() for _ in range(5)]; "
            "stream.write(b'hello\\n'); stream.flush(); "
            "print(greeting[0].decode().split()[-1], stream.readline().decode())"
        )
        node, echo = python(lab, f"busybox-sleep-{caller}", call).split()
        assert node.rstrip(".") in nodes
        assert echo == "hello"


async def test_every_agent_knows_the_same_services_pods_and_nodes(lab: Home) -> None:
    await cluster.up(lab, 2)
    await apply(lab, "hostname-lb-default")
    pods = {pod.key.name for pod in load(lab).pods}
    addresses = set()
    for node in ("edge-1", "edge-2", "cloud"):
        service = await ask(lab, node, "default/service/hostname-lb-svc")
        addresses.add(service["spec"]["clusterIP"])
        assert {pod["metadata"]["name"] for pod in await ask(lab, node, "default/pod")} == pods
        nodes = {each["metadata"]["name"] for each in await ask(lab, node, "all/node")}
        assert nodes == {"edge-1", "edge-2", "cloud"}
    assert len(addresses) == 1


async def test_what_is_deleted_is_gone_at_every_agent(lab: Home) -> None:
    await cluster.up(lab, 2)
    await apply(lab, "hostname")
    keys = [one.key for one in manifest(SHARED_MANIFESTS / "hostname.yaml")]
    await rollout.delete(lab, [*keys, ObjectKey("Service", "default", "never-there")])
    for node in ("edge-1", "edge-2", "cloud"):
        assert await ask(lab, node, "default/pod") == []
        assert await ask(lab, node, "default/service") == []


async def test_an_agent_that_was_stopped_is_started_again_with_what_it_knew(lab: Home) -> None:
    await cluster.up(lab, 2)
    await apply(lab, "hostname", "edgezone")
    (pod,) = pods_of(load(lab), "hostname-edge")
    (caller,) = pods_of(load(lab), "busybox-sleep-edge")
    state = await cluster.stop_agents(lab, [caller.node])
    assert caller.node not in state.agents
    state = await cluster.start_agents(lab, [caller.node])
    assert state.agents[caller.node].alive
    url = "http://hostname-svc.default:12345"
    assert execute(lab, caller.key.name, "curl", "-sS", "-m", "30", url) == pod.key.name
