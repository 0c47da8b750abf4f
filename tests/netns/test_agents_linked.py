"""Agents of two nodes and their cloud: how calls get from one node to the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import trio
from lab_homes import curl, manifest_of, pods_of, unique_home

from edgemesh.app.cloud_authority import revoke_node
from edgemesh.app.config import load_settings
from edgemesh.lab import cluster, plan, rollout, topology
from edgemesh.lab.state import Home, load
from edgemesh.meta.client import connect
from edgemesh.model.peers import PeerStatus, Way
from edgemesh.model.settings import MetaSettings
from edgemesh.wire.message import Operation

pytestmark = [pytest.mark.root, pytest.mark.timeout(240)]

# A server on edge-2, and somebody on edge-1 who calls it.
MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 9376, protocol: TCP}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeName: edge-2
      containers:
      - {name: web, image: serve_hostname, args: [--http=true]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: caller}
spec:
  replicas: 1
  selector: {matchLabels: {app: caller}}
  template:
    metadata: {labels: {app: caller}}
    spec:
      nodeName: edge-1
      containers:
      - {name: caller, image: serve_hostname, args: [--http=true]}
"""
SETTINGS = {"bus": {"probe_seconds": 1.0, "link_silence_seconds": 3.0, "first_retry_seconds": 0.2}}
PATIENCE_SECONDS = 40.0


@pytest.fixture
def lab() -> Iterator[Home]:
    with unique_home() as place:
        yield place


async def peer(lab: Home, node: str, other: str) -> PeerStatus | None:
    async with connect(lab.agent_socket(node), MetaSettings()) as client:
        told: Any = await client.request(Operation.QUERY, "null/peers")
    found = {each.node: each for each in msgspec.convert(told, list[PeerStatus])}
    return found.get(other)


async def goes(lab: Home, way: Way) -> None:
    """Call until new calls take this way; every one of them is answered."""
    (caller,) = pods_of(load(lab), "caller")
    (server,) = pods_of(load(lab), "web")
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            answered = await trio.to_thread.run_sync(
                curl, caller.network_namespace, "http://web.default"
            )
            status = await peer(lab, "edge-1", "edge-2")
            if status is not None and status.route is way and answered == server.key.name:
                return


async def test_calls_go_by_the_hub_until_the_direct_way_opens_and_again_when_it_closes(
    lab: Home,
) -> None:
    await cluster.up(lab, 2, with_hub=True, settings=SETTINGS)
    await rollout.apply(lab, manifest_of(MANIFEST))
    await goes(lab, Way.HUB)
    await is_told(lab, lambda status: bool(status.problem))

    await cluster.join_edges(lab)
    await goes(lab, Way.LINK)
    await is_told(lab, lambda status: not status.problem and status.round_trip_seconds > 0)

    edges = [node for node in load(lab).nodes if not node.is_cloud]
    await trio.to_thread.run_sync(topology.part, [*edges, plan.cloud_of(lab.lab)])
    await goes(lab, Way.HUB)
    await trio.to_thread.run_sync(topology.join, edges)
    await goes(lab, Way.LINK)

    # What is linked needs no cloud.
    await cluster.kill_hub(lab)
    await goes(lab, Way.LINK)


async def test_nodes_shut_out_who_is_revoked_also_while_the_cloud_is_away(lab: Home) -> None:
    await cluster.up(lab, 2, with_hub=True, settings=SETTINGS)
    await rollout.apply(lab, manifest_of(MANIFEST))
    await cluster.join_edges(lab)
    await goes(lab, Way.LINK)
    await revoke_node(load_settings(lab.hub_config), "edge-2")
    await is_shut_out(lab)
    await cluster.kill_hub(lab)
    await cluster.stop_agents(lab, ["edge-1"])
    await cluster.start_agents(lab, ["edge-1"])
    await is_shut_out(lab)


async def is_told(lab: Home, state: Callable[[PeerStatus], bool]) -> None:
    """Wait until edge-1 says this of edge-2."""
    with trio.fail_after(PATIENCE_SECONDS):
        while (status := await peer(lab, "edge-1", "edge-2")) is None or not state(status):
            pass


async def is_shut_out(lab: Home) -> None:
    """Call until edge-1 has no link to edge-2, and says why."""
    (caller,) = pods_of(load(lab), "caller")
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            await trio.to_thread.run_sync(curl, caller.network_namespace, "http://web.default")
            status = await peer(lab, "edge-1", "edge-2")
            if status is None or status.route is Way.LINK:
                continue
            if "is revoked" in status.problem:
                return
