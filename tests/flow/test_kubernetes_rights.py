"""What `edgemesh deploy render` lets an agent and a cloud do is enough for what they do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from apiserver.server import ApiServer
from kubernetes_fixtures import EVENTS, LEASES, POLICIES, following, server_with, until
from metamanager_fixtures import service

from edgemesh.deploy.chart import render

Body = dict[str, Any]
RULES = "/apis/rules.kubeedge.io/v1/rules"
VIRTUAL_SERVICES = "/apis/networking.istio.io/v1/virtualservices"
ROUTES = "/apis/gateway.networking.k8s.io/v1/httproutes"
DEFINED = (
    "destinationrules",
    "virtualservices",
    "gateways",
    "httproutes",
    "grpcroutes",
    "tlsroutes",
    "tcproutes",
    "referencegrants",
    "trafficpolicies",
    "rules",
    "ruleendpoints",
)


def roles_of(who: str, **values: Any) -> list[Body]:
    """The roles that an installation binds to one of its accounts."""
    base = {"cloud": {"address": "cloud.example"}}
    bodies = [document.body for document in render("edgemesh", [base, values])]
    roles = [body for body in bodies if body["kind"] in {"ClusterRole", "Role"}]
    return [role for role in roles if role["metadata"]["name"] == f"edgemesh-{who}"]


def fill(server: ApiServer) -> None:
    """Let there be something of each sort that is judged, and something that is refused."""
    server.put("/api/v1/services", service("web", clusterIP="10.96.0.9"))
    server.put("/api/v1/services", service("bad", ports=[{"port": 80, "targetPort": "no port!"}]))
    target = {"group": "", "kind": "Service", "name": "web"}
    server.put(POLICIES, {"metadata": {"name": "limit"}, "spec": {"targetRef": target}})
    destination = {"destination": {"host": "web"}}
    routed = {"hosts": ["web"], "http": [{"route": [destination]}]}
    server.put(VIRTUAL_SERVICES, {"metadata": {"name": "web"}, "spec": routed})
    parents = {"parentRefs": [target], "rules": []}
    server.put(ROUTES, {"metadata": {"name": "web"}, "spec": parents})


def has_status(server: ApiServer, paths: Iterable[str]) -> bool:
    return all("status" in body for path in paths for body in server.objects(path).values())


@pytest.mark.parametrize("mode", ["agent", "cloud"])
async def test_whoever_follows_asks_nothing_that_it_may_not(mode: str, tmp_path: Path) -> None:
    async with server_with(*DEFINED) as server:
        fill(server)
        follow = {"agent": {"follow": "kubernetes"}} if mode == "agent" else {}
        server.roles = roles_of(mode, **follow)
        assert server.roles
        node = "edge-1" if mode == "agent" else ""
        async with following(tmp_path, server, node=node) as one:
            await until(lambda: one.status().kinds and not one.status().unsynced)
            if mode == "cloud":
                await until(lambda: has_status(server, [POLICIES, VIRTUAL_SERVICES, ROUTES]))
                await until(lambda: server.objects(EVENTS) and server.objects(LEASES))
        assert server.violations == []
