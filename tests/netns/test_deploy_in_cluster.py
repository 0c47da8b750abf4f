"""What manifests grant is enough to follow an API server from inside of its cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from apiserver_process import RemoteServer, apiserver_process
from deploy_container import Container, InCluster, started
from lab_homes import wait_for
from pki_fixtures import a_cloud, an_authority

from edgemesh.deploy.chart import render
from edgemesh.lab.network import command_in

pytestmark = pytest.mark.root

PORT = 6443
HOST = "127.0.0.1"
TOKEN = "service-account-token"
NAMESPACE = "mesh"
ADDRESS = {"cloud": {"address": "192.0.2.1"}}
POLICIES = "/apis/policy.edgemesh.io/v1alpha1/trafficpolicies"
Body = dict[str, Any]


def installed(*layers: Body) -> list[Body]:
    return [document.body for document in render(NAMESPACE, [ADDRESS, *layers])]


def only(bodies: list[Body], kind: str) -> Body:
    [found] = [body for body in bodies if body["kind"] == kind]
    return found


@contextmanager
def in_cluster(
    namespace: str, folder: Path, bodies: list[Body], account: str
) -> Iterator[tuple[RemoteServer, InCluster]]:
    """An API server with what was installed, that lets an account do what it was granted."""
    identity = a_cloud(an_authority(), folder, [HOST])
    arguments = ["--token", TOKEN, "--certificate", str(identity.certificate)]
    within = partial(command_in, namespace)
    with apiserver_process(
        HOST, PORT, *arguments, within=lambda argv: within(list(argv))
    ) as server:
        server.put("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        for body in bodies:
            if body["kind"] == "CustomResourceDefinition":
                server.install_crd(body)
        granted = [body for body in bodies if body["kind"] in {"ClusterRole", "Role"}]
        server.tell("allow", [body for body in granted if body["metadata"]["name"] == account])
        yield server, InCluster(HOST, PORT, NAMESPACE, TOKEN, identity.bundle.read_text())


def followed(container: Container) -> bool:
    """Whether all kinds that the API server has are in the store."""
    kubernetes = msgspec.json.decode(container.get("/status")[1])["kubernetes"]
    kinds = kubernetes["kinds"]
    return bool(kinds) and all(kind["synced"] for kind in kinds) and not kubernetes["problem"]


def conditions(server: RemoteServer) -> Mapping[str, str]:
    [policy] = server.objects(POLICIES).values()
    found = policy.get("status", {}).get("conditions", [])
    return {each["type"]: each["reason"] for each in found}


def soon(container: Container, state: Callable[[], bool], what: str) -> None:
    wait_for(state, f"{what}: {container.log}", 30)


def test_the_cloud_follows_its_cluster_and_tells_it_how_policies_stand(
    lone_node: str, tmp_path: Path
) -> None:
    bodies = installed()
    with ExitStack() as stack:
        made = in_cluster(lone_node, tmp_path, bodies, "edgemesh-cloud")
        server, cluster = stack.enter_context(made)
        spec = {"targetRef": {"group": "", "kind": "Service", "name": "nowhere"}}
        server.put(POLICIES, {"metadata": {"name": "limit"}, "spec": spec})
        deployment = only(bodies, "Deployment")
        container = stack.enter_context(
            started(lone_node, deployment, "", tmp_path, cluster=cluster)
        )
        container.wait_until_ready()
        soon(container, lambda: followed(container), "everything is followed")
        soon(container, lambda: "Accepted" in conditions(server), "its status is written")
        assert conditions(server)["Accepted"] == "TargetNotFound"
        assert ("mesh", "edgemesh-cloud") in server.objects("/apis/coordination.k8s.io/v1/leases")
        assert server.violations() == []
        assert container.stop() == 0, container.log


@pytest.mark.long
def test_an_agent_follows_its_cluster_by_itself(lone_node: str, tmp_path: Path) -> None:
    bodies = installed({"agent": {"follow": "kubernetes"}})
    with ExitStack() as stack:
        made = in_cluster(lone_node, tmp_path, bodies, "edgemesh-agent")
        server, cluster = stack.enter_context(made)
        daemon_set = only(bodies, "DaemonSet")
        toml = "[bpf]\nenabled = false\n"
        container = stack.enter_context(
            started(lone_node, daemon_set, toml, tmp_path, cluster=cluster)
        )
        container.wait_until_ready()
        soon(container, lambda: followed(container), "everything is followed")
        assert server.violations() == []
        assert container.stop() == 0, container.log
