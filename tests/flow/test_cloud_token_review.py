"""Nodes enrol with the token of their agent's Pod, which the API server vouches for."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio
from apiserver.reviews import TokenUser
from apiserver.server import ApiServer
from cloud_fixtures import Cloud, serving
from kubernetes_fixtures import QUICK, server_with, until
from test_kubernetes_rights import roles_of

from edgemesh.app.cloud_authority import make_token, revoke_node
from edgemesh.bus.edgehub.address import CloudAddress
from edgemesh.bus.edgehub.credentials import Credentials
from edgemesh.bus.edgehub.dialling import Dialler
from edgemesh.bus.edgehub.enrolment import EnrolmentClient
from edgemesh.bus.pki.identity import Identity, own_certificate
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.cloud.access import open_access
from edgemesh.cloud.authority import publish_authority
from edgemesh.cloud.token_review import TokenReviews
from edgemesh.model.bus_settings import BusSettings
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import MetaSettings, Settings

NODE = "edge-1"
ACCOUNT = QUICK.agent_service_account
EXTRA = "authentication.kubernetes.io/"
PODS, MAPS = "/api/v1/pods", "/api/v1/configmaps"


def jwt(name: str = "agent", algorithm: str = "RS256") -> str:
    """What the API server would have signed."""
    head = {"alg": algorithm, "kid": "k"}
    # As long as they are: an RSA signature, and all that Kubernetes says of the Pod.
    claims = {"sub": name, "kubernetes.io": "x" * 1024}
    parts = (json.dumps(part).encode() for part in (head, claims, "s" * 256))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def agent_of(node: str = NODE, **changed: Any) -> TokenUser:
    """Whose the token of the agent's Pod on a node is, to Kubernetes 1.32 and later."""
    extra = {f"{EXTRA}node-name": [node]}
    return replace(TokenUser(ACCOUNT, ("edgemesh",), extra), **changed)


@dataclass
class Node:
    """One that has what Kubernetes gives to the agent's Pod: a token, and a ConfigMap."""

    settings: BusSettings
    credentials: Credentials
    identity: Identity

    def has(self, token: str) -> None:
        """kubelet has written another token, a moment ago."""
        self.settings.token_file.write_text(token)
        later = self.identity.certificate.stat().st_mtime + 1
        os.utime(self.settings.token_file, (later, later))


@dataclass
class World:
    """A cloud, its API server, and a place for nodes."""

    cloud: Cloud
    server: ApiServer
    reviews: TokenReviews

    def know(self, token: str, user: TokenUser) -> None:
        self.server.reviewer.users[token] = user

    def node(self, name: str = NODE, token: str = "") -> Node:
        folder = self.cloud.folder / f"at-{name}"
        folder.mkdir(exist_ok=True)
        settings = BusSettings(
            token_file=folder / "token", authority_file=folder / "ca.crt", dial_seconds=30
        )
        settings.token_file.write_text(token or jwt())
        settings.authority_file.write_bytes(self.cloud.credentials.authority_pem)
        address = CloudAddress("127.0.0.1", self.cloud.enrolment_port)
        client = EnrolmentClient(name, address, Dialler(0, 30), 30)
        identity = Identity.within(folder / "pki", name)
        return Node(settings, Credentials(settings, identity, client, lambda: 0.5), identity)


@asynccontextmanager
async def world(folder: Path, **changed: Any) -> AsyncIterator[World]:
    async with serving(folder) as cloud, server_with() as server:
        server.roles = roles_of("cloud")
        settings = replace(QUICK, server=server.url, **changed)
        async with open_access(settings) as access:
            reviews = TokenReviews(access, settings)
            cloud.hub.enrolment.review_with(reviews)
            yield World(cloud, server, reviews)
        assert not server.violations


async def test_a_node_enrols_with_the_token_of_its_agents_pod(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        there.know(jwt(), agent_of())
        node = there.node()
        identity = await node.credentials.ensure()
        assert f"system:node:{NODE}" in own_certificate(identity).subject.rfc4514_string()
        async with there.cloud.node(NODE, identity=identity) as connected:
            await connected.ask_for_sync()


async def test_before_kubernetes_1_32_the_pod_tells_the_node(tmp_path: Path) -> None:
    extra = {f"{EXTRA}pod-name": ["agent-x"], f"{EXTRA}pod-uid": ["?"]}
    spec = {"nodeName": NODE, "serviceAccountName": "edgemesh-agent", "containers": []}
    async with world(tmp_path) as there:
        metadata = {"name": "agent-x", "namespace": "edgemesh"}
        made = there.server.put(PODS, {"metadata": metadata, "spec": spec})
        extra[f"{EXTRA}pod-uid"] = [made["metadata"]["uid"]]
        there.know(jwt(), agent_of(extra=extra))
        with pytest.raises(CertificateProblem, match="on node edge-1, not on edge-2"):
            await there.node("edge-2").credentials.ensure()
        await there.node().credentials.ensure()
        there.server.delete(PODS, "edgemesh", "agent-x")
        with pytest.raises(CertificateProblem, match="a Pod edgemesh/agent-x that is gone"):
            await there.node("edge-3").credentials.ensure()


REFUSED: Mapping[str, tuple[TokenUser, str]] = {
    "another node's": (agent_of("edge-2"), "on node edge-2, not on edge-1"),
    "another account's": (
        agent_of(username="system:serviceaccount:default:default"),
        "token is of system:serviceaccount:default:default",
    ),
    "for another audience": (agent_of(audiences=("kubernetes",)), "audiences"),
    "of a path": (
        agent_of(extra={f"{EXTRA}pod-name": ["../secrets/x"], f"{EXTRA}pod-uid": ["u"]}),
        "whose name is none",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_token_that_is_not_the_agents_on_that_node_is_refused(
    tmp_path: Path, what: str
) -> None:
    user, told = REFUSED[what]
    async with world(tmp_path) as there:
        there.know(jwt(), user)
        with pytest.raises(CertificateProblem, match=rf"HTTP 401, .*{told}"):
            await there.node().credentials.ensure()
        assert there.cloud.hub.refusals.by_reason["enrolment"] == 1


async def test_a_token_that_the_api_server_does_not_know_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        with pytest.raises(CertificateProblem, match="the API server refuses the token"):
            await there.node().credentials.ensure()


async def test_tokens_of_the_cloud_are_good_beside_and_never_shown_to_the_api_server(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as there:
        node = there.node(token=await make_token(settings_of(tmp_path), NODE, None))
        node.settings.authority_file.unlink()
        await node.credentials.ensure()
        forged = there.node("edge-2", jwt(algorithm="HS256"))
        with pytest.raises(CertificateProblem, match="signature is invalid"):
            await forged.credentials.ensure()
        assert there.server.requests == []


async def test_a_node_that_was_shut_out_stays_out_whoever_vouches_for_it(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        there.know(jwt(), agent_of())
        await revoke_node(settings_of(tmp_path), NODE)
        await until(lambda: NODE in there.cloud.credentials.revoked.nodes)
        with pytest.raises(CertificateProblem, match=f"node {NODE} is revoked"):
            await there.node().credentials.ensure()


def settings_of(folder: Path) -> Settings:
    url = f"sqlite:///{folder / 'cloud.db'}"
    return Settings(state_dir=folder, meta=MetaSettings(store_url=url))


async def test_without_an_api_server_such_tokens_are_refused_as_ever(tmp_path: Path) -> None:
    async with world(tmp_path) as there, serving(tmp_path / "other") as alone:
        there.cloud = alone
        (tmp_path / "other").mkdir(exist_ok=True)
        with pytest.raises(CertificateProblem, match="signing method RS256 is invalid"):
            await there.node().credentials.ensure()


async def test_an_api_server_that_is_away_is_named(tmp_path: Path) -> None:
    nobody = replace(QUICK, server="http://127.0.0.1:1")
    async with world(tmp_path) as there, open_access(nobody) as access:
        there.cloud.hub.enrolment.review_with(TokenReviews(access, nobody))
        with pytest.raises(CertificateProblem, match="the API server cannot be asked"):
            await there.node().credentials.ensure()


async def test_a_token_is_not_shown_to_a_cloud_of_another_authority(tmp_path: Path) -> None:
    async with world(tmp_path) as there, serving(tmp_path / "other") as other:
        there.know(jwt(), agent_of())
        node = there.node()
        node.settings.authority_file.write_bytes(other.credentials.authority_pem)
        with pytest.raises(CertificateProblem, match="not the one that the token names"):
            await node.credentials.ensure()
        assert there.server.requests == []


async def test_without_the_authority_the_file_is_named(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        node = there.node()
        node.settings.authority_file.write_text("nonsense")
        with pytest.raises(OperatorError, match=r"ca\.crt is no certificate"):
            await node.credentials.ensure()
        node.settings.authority_file.unlink()
        with pytest.raises(OperatorError, match=r"ca\.crt: No such file"):
            await node.credentials.ensure()


async def test_a_token_that_kubelet_renews_is_used_only_where_the_certificate_is_of_no_use(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as there:
        there.know(jwt(), agent_of())
        there.know(jwt("renewed"), agent_of())
        node = there.node()
        await node.credentials.ensure()
        first = own_certificate(node.identity)
        started_anew = there.node(token=jwt("renewed"))
        node.has(jwt("renewed"))
        await started_anew.credentials.ensure()
        assert own_certificate(node.identity) == first
        # Asked again so soon: the cloud may have refused the certificate.
        await started_anew.credentials.ensure()
        assert own_certificate(node.identity) != first


@asynccontextmanager
async def publishing(server: ApiServer, pem: str) -> AsyncIterator[None]:
    settings = replace(QUICK, server=server.url)
    server.roles = roles_of("cloud") if server.roles is None else server.roles
    async with open_access(settings) as access, trio.open_nursery() as nursery:
        nursery.start_soon(publish_authority, access, settings, pem)
        yield
        nursery.cancel_scope.cancel()


def told(server: ApiServer) -> dict[str, str]:
    found = server.objects(MAPS).get(("edgemesh", "edgemesh-authority"), {})
    return dict(found.get("data", {}))


async def test_the_authority_is_told_to_nodes_by_a_config_map() -> None:
    async with server_with() as server, publishing(server, "PEM 1"):
        await until(lambda: told(server) == {"ca.crt": "PEM 1"})
    assert not server.violations


async def test_an_authority_that_was_replaced_is_told_anew() -> None:
    metadata = {"name": "edgemesh-authority", "namespace": "edgemesh"}
    async with server_with() as server:
        server.put(MAPS, {"metadata": metadata, "data": {"ca.crt": "PEM 0", "note": "kept"}})
        async with publishing(server, "PEM 1"):
            await until(lambda: told(server) == {"ca.crt": "PEM 1", "note": "kept"})


async def test_the_authority_is_told_once_the_api_server_is_there_and_lets_it() -> None:
    async with server_with() as server:
        server.roles = []
        async with publishing(server, "PEM 1"):
            await until(lambda: server.requests)
            assert told(server) == {}
            server.roles = roles_of("cloud")
            await until(lambda: told(server) == {"ca.crt": "PEM 1"})
