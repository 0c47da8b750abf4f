"""An agent that asks an API server itself, or KubeEdge's MetaServer, needs no cloud of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from apiserver.metaserver import run_metaserver
from kubernetes_fixtures import Following, following, server_with, until
from metamanager_fixtures import pod, service

from edgemesh.app.agent import run_agent
from edgemesh.model.bus_settings import BusSettings
from edgemesh.model.errors import OperatorError
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.settings import Settings

Body = dict[str, Any]
SERVICES, PODS = "/api/v1/services", "/api/v1/pods"
RULES = "/apis/networking.istio.io/v1/destinationrules"


def pod_on(node: str, name: str) -> Body:
    body = pod(name, "10.0.0.1")
    body["spec"]["nodeName"] = node
    return body


def rule(*subsets: str) -> Body:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "host": "web",
            "subsets": [{"name": each, "labels": {"version": each}} for each in subsets],
        },
    }


async def until_pods(agent: Following, *names: str) -> None:
    async def are_there() -> bool:
        return set(await agent.stored("Pod")) == set(names)

    await until(are_there)


async def test_pods_of_other_nodes_are_followed_while_their_labels_matter(tmp_path: Path) -> None:
    async with server_with("destinationrules") as server:
        server.put(SERVICES, service("web", clusterIP="10.96.0.9"))
        server.put(PODS, pod_on("edge-1", "here"))
        server.put(PODS, pod_on("edge-2", "there"))
        async with following(tmp_path, server, node="edge-1") as agent:
            await until_pods(agent, "here")
            server.put(RULES, rule("v1"))
            await until_pods(agent, "here", "there")
            server.put(RULES, rule())
            await until_pods(agent, "here")
            server.put(PODS, pod_on("edge-1", "second"))
            await until_pods(agent, "here", "second")
        assert not server.violations


async def test_an_agent_tells_the_server_nothing(tmp_path: Path) -> None:
    async with server_with("trafficpolicies") as server:
        async with following(tmp_path, server, node="edge-1") as agent:
            await until(lambda: agent.status().kinds and not agent.status().unsynced)
        assert {request.method for request in server.requests} == {"GET"}


async def test_a_metaserver_is_followed_and_its_empty_lists_wipe_nothing(tmp_path: Path) -> None:
    async with run_metaserver() as server:
        server.install_crd("destinationrules")
        server.put(SERVICES, service("web", clusterIP="10.96.0.9"))
        server.put(RULES, rule())
        async with following(tmp_path, server, node="edge-1", metaserver_seconds=0.3) as agent:

            async def names(kind: str) -> set[str]:
                return set(await agent.stored(kind))

            async def all_there() -> bool:
                return await names("Service") == {"web"} and await names("DestinationRule") == {
                    "web"
                }

            await until(all_there)
            assert "TrafficPolicy" in agent.status().unserved
            # What is missing is asked for again, but what was found is not.
            probes = [each.target for each in server.requests if "limit=1" in each.target]
            assert sum("destinationrules" in each for each in probes) == 1
            server.put(SERVICES, service("api", clusterIP="10.96.0.8"))

            async def followed() -> bool:
                return await names("Service") == {"web", "api"}

            await until(followed)
            server.lose_cloud()
            asked = len(server.requests)
            await until(lambda: len(server.requests) > asked + 20, 60)
            assert await names("Service") == {"web", "api"}
            assert await names("DestinationRule") == {"web"}
        assert not server.violations


async def test_objects_come_from_one_place_only(tmp_path: Path) -> None:
    settings = Settings(
        node="edge-1",
        state_dir=tmp_path,
        run_dir=tmp_path,
        bus=BusSettings(cloud="cloud.example"),
        kubernetes=KubernetesSettings(server="in-cluster"),
    )
    with pytest.raises(OperatorError, match=r"bus\.cloud and kubernetes\.server are both set"):
        await run_agent(settings)
