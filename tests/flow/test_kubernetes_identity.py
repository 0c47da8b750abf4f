"""How an API server is known for what it is, and knows who asks."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver.server import ApiServer, run_apiserver
from pki_fixtures import a_cloud, a_node, an_authority

from edgemesh.bus.pki.authority import Authority
from edgemesh.bus.pki.identity import Identity
from edgemesh.cloud.access import Access, UnreachableError, open_access
from edgemesh.model.errors import OperatorError
from edgemesh.model.kubernetes_settings import KubernetesSettings

SERVICES = "/api/v1/services"


@pytest.fixture
def authority() -> Authority:
    return an_authority()


@asynccontextmanager
async def secured(authority: Authority, folder: Path) -> AsyncIterator[ApiServer]:
    """An API server with TLS that lets nobody in but who is named to it."""
    identity = a_cloud(authority, folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate)
    context.load_verify_locations(identity.bundle)
    context.verify_mode = ssl.CERT_OPTIONAL
    async with run_apiserver(token="nobody's", tls=context) as server:
        yield server


def kubeconfig(folder: Path, server: ApiServer, cluster: Any, user: Any) -> KubernetesSettings:
    """Settings with a kubeconfig that says this about the cluster and the user."""
    body = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server.url, **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(body))
    return KubernetesSettings(server="kubeconfig", kubeconfig=str(path))


def certified(identity: Identity) -> dict[str, str]:
    """A user of a kubeconfig, by names of files."""
    return {
        "client-certificate": str(identity.certificate),
        "client-key": str(identity.key),
    }


async def status_of(access: Access) -> int:
    return (await access.request("GET", SERVICES)).status


async def test_a_client_certificate_of_a_kubeconfig_says_who_asks(
    authority: Authority, tmp_path: Path
) -> None:
    identity = a_node(authority, tmp_path)
    async with secured(authority, tmp_path) as server:
        trusted = {"certificate-authority": str(identity.bundle)}
        settings = kubeconfig(tmp_path, server, trusted, certified(identity))
        async with open_access(settings) as access:
            assert await status_of(access) == 401
            server.clients.add("system:node:node-a")
            assert await status_of(access) == 200
    assert server.requests[-1].certified == "system:node:node-a"


async def test_a_kubeconfig_may_carry_its_certificates_itself(
    authority: Authority, tmp_path: Path
) -> None:
    identity = a_node(authority, tmp_path)

    def data(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    async with secured(authority, tmp_path) as server:
        server.clients.add("system:node:node-a")
        trusted = {"certificate-authority-data": data(identity.bundle)}
        user = {
            "client-certificate-data": data(identity.certificate),
            "client-key-data": data(identity.key),
        }
        async with open_access(kubeconfig(tmp_path, server, trusted, user)) as access:
            assert await status_of(access) == 200


async def test_a_client_certificate_that_was_renewed_is_shown_from_then_on(
    authority: Authority, tmp_path: Path
) -> None:
    before, after = (a_node(authority, tmp_path, name) for name in ("old", "new"))
    async with secured(authority, tmp_path) as server:
        server.clients |= {"system:node:old", "system:node:new"}
        trusted = {"certificate-authority": str(before.bundle)}
        settings = kubeconfig(tmp_path, server, trusted, certified(before))
        async with open_access(settings) as access:
            await status_of(access)
            after.certificate.rename(before.certificate)
            assert await status_of(access) == 200
    assert [each.certified for each in server.requests] == ["system:node:old", "system:node:new"]


async def test_a_token_that_was_renewed_is_shown_once_the_old_one_is_refused(
    authority: Authority, tmp_path: Path
) -> None:
    token, bundle = tmp_path / "token", a_node(authority, tmp_path).bundle
    token.write_text("first")
    async with secured(authority, tmp_path) as server:
        server.tokens = {"first"}
        settings = KubernetesSettings(server=server.url, token_file=str(token), ca_file=str(bundle))
        async with open_access(settings) as access:
            assert await status_of(access) == 200
            server.tokens = {"second"}
            token.write_text("second")
            assert await status_of(access) == 200


async def test_a_server_that_somebody_else_has_certified_is_told_nothing(
    authority: Authority, tmp_path: Path
) -> None:
    token, others = tmp_path / "token", a_node(an_authority(), tmp_path).bundle
    token.write_text("secret")
    async with secured(authority, tmp_path) as server:
        settings = KubernetesSettings(server=server.url, token_file=str(token), ca_file=str(others))
        async with open_access(settings) as access:
            with pytest.raises(UnreachableError, match="certificate verify failed"):
                await status_of(access)
    assert server.requests == []
    assert server.handshakes_failed == 1


async def test_a_kubeconfig_that_is_not_there_is_the_operators_mistake(tmp_path: Path) -> None:
    settings = KubernetesSettings(server="kubeconfig", kubeconfig=str(tmp_path / "none"))
    with pytest.raises(OperatorError, match=r"kubernetes\.server = 'kubeconfig' cannot be used"):
        async with open_access(settings):
            pass
