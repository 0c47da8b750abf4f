"""A node of Kubernetes: enrolled by its Pod's token, told by an API server, through the cloud."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from apiserver_process import RemoteServer, apiserver_process
from cloud_process import ADDRESS, CloudProcess, bus, cloud_of, cloud_status
from interception_lab import POD
from lab_homes import wait_for
from mesh import Mesh, web, web_and_bystander, who_answers

from edgemesh.lab.network import command_in
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.policy.callers import INTERCEPT

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

SERVER_PORT = 6443
PATHS = {
    "Namespace": "/api/v1/namespaces",
    "Pod": "/api/v1/pods",
    "Service": "/api/v1/services",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/endpointslices",
}
# What the API server would have signed for the agent's Pod.
TOKEN = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (b'{"alg":"RS256","kid":"k"}', b'{"aud":["edgemesh"]}', b"signature")
)


class Cluster(NamedTuple):
    """A mesh whose cloud follows an API server."""

    mesh: Mesh
    cloud: CloudProcess
    server: RemoteServer

    def put(self, *bodies: dict[str, Any]) -> None:
        for body in bodies:
            self.server.put(PATHS[body["kind"]], body)

    def vouch(self, node: str) -> None:
        """The API server knows the token: it is of the agent's Pod on this node."""
        user = {
            "username": KubernetesSettings().agent_service_account,
            "audiences": ["edgemesh"],
            "extra": {"authentication.kubernetes.io/node-name": [node]},
        }
        self.server.tell("vouch", TOKEN, user)

    def authority(self) -> str:
        """The certificate in the ConfigMap, "" while there is none."""
        found = self.server.objects("/api/v1/configmaps").get(("edgemesh", "edgemesh-authority"))
        return str(found["data"]["ca.crt"]) if found else ""

    def answers(self, who: str) -> float:
        """Wait until these answer the pod; how many seconds it took."""
        began = time.monotonic()
        wait_for(lambda: self._answering() == who, f"the {who} answers", 20)
        return time.monotonic() - began

    def _answering(self) -> str:
        try:
            return who_answers(self.mesh.network.pod)
        except ConnectionError:
            # The Service has no endpoints yet that the agent knows of.
            return ""


@pytest.fixture
def cluster(mesh: Mesh) -> Iterator[Cluster]:
    with ExitStack() as stack:
        stack.enter_context(web_and_bystander(mesh))
        where = mesh.network.server
        server = stack.enter_context(
            apiserver_process(ADDRESS, SERVER_PORT, within=lambda argv: command_in(where, argv))
        )
        cloud = stack.enter_context(cloud_of(mesh))
        for name in ("default", "edgemesh"):
            server.put(PATHS["Namespace"], {"metadata": {"name": name}})
        cloud.start(kubernetes={"server": server.url})
        yield Cluster(mesh, cloud, server)
        assert not server.violations()


def test_a_node_enrols_by_its_pods_token_and_a_namespace_of_the_cluster_opts_out(
    cluster: Cluster,
) -> None:
    mesh = cluster.mesh
    cluster.vouch("node")
    cluster.put(*web())
    cluster.cloud.token_file.write_text(TOKEN)
    authority = cluster.cloud.token_file.with_name("authority")
    mesh.start(bus=bus(cluster.cloud, authority_file=str(authority)))
    wait_for(lambda: "authority: No such file" in cloud_status(mesh)["problem"], "it is missed")
    wait_for(cluster.authority, f"the authority is told: {cluster.cloud.log}")
    # As kubelet does it for a Pod that has the ConfigMap in a volume.
    authority.write_text(cluster.authority())
    cluster.answers("endpoint")
    cluster.put(client(), namespace("disabled"))
    seconds = cluster.answers("bystander")
    print(f"opted out after {seconds:.3f} s")
    cluster.put(namespace("enabled"))
    print(f"opted in after {cluster.answers('endpoint'):.3f} s")


@pytest.mark.long
def test_a_node_with_the_token_of_another_nodes_pod_is_not_let_in(cluster: Cluster) -> None:
    mesh = cluster.mesh
    cluster.vouch("another")
    cluster.cloud.token_file.write_text(TOKEN)
    authority = cluster.cloud.token_file.with_name("authority")
    wait_for(cluster.authority, f"the authority is told: {cluster.cloud.log}")
    authority.write_text(cluster.authority())
    mesh.start(bus=bus(cluster.cloud, authority_file=str(authority)))
    told = "token is of a Pod on node another, not on node"
    wait_for(lambda: told in cloud_status(mesh)["problem"], f"it is refused: {mesh.log}")
    assert cluster.cloud.connected() == 0


def namespace(word: str) -> dict[str, Any]:
    metadata = {"name": "default", "labels": {INTERCEPT: word}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def client() -> dict[str, Any]:
    """The Pod that calls."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "namespace": "default"},
        "spec": {"nodeName": "node", "containers": [{"name": "main", "image": "x"}]},
        "status": {"phase": "Running", "podIP": POD[4], "podIPs": [{"ip": POD[4]}]},
    }
