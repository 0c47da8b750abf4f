"""Enrolment over the network: who gets a certificate, and who may use it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
from cloud_fixtures import PATIENCE_SECONDS, Cloud, serving, until
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edgemesh.app.cloud_authority import authority_certificate, make_token, revoke_node
from edgemesh.bus.pki.contexts import Expected, client_context, enrolment_context
from edgemesh.bus.pki.identity import Identity, write_identity
from edgemesh.bus.pki.requests import NewRequest, make_request
from edgemesh.bus.pki.tokens import Token
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import MetaSettings, Settings


class Answer(NamedTuple):
    status: int
    body: bytes


async def ask(
    cloud: Cloud,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    context: ssl.SSLContext | None = None,
    method: str = "GET",
) -> Answer:
    plain = await trio.open_tcp_stream("127.0.0.1", cloud.enrolment_port)
    context = context or enrolment_context([cloud.credentials.authority.certificate])
    stream = trio.SSLStream(plain, context, server_hostname="localhost", https_compatible=True)
    fields = {"Host": "cloud", "Content-Length": str(len(body)), **(headers or {})}
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
    received = b""
    try:
        with trio.fail_after(PATIENCE_SECONDS):
            await stream.send_all("\r\n".join(lines).encode() + body)
            while data := await stream.receive_some():
                received += data
    finally:
        await trio.aclose_forcefully(stream)
    head, _, content = received.partition(b"\r\n\r\n")
    return Answer(int(head.split()[1]), content)


async def enrol(
    cloud: Cloud, node: str, token: str, made: NewRequest | None = None
) -> tuple[Answer, bytes]:
    """Ask for a certificate; the answer, and the key that it is for."""
    made = made or make_request(node)
    jwt = Token.parse(token).jwt
    headers = {"NodeName": node, "Authorization": f"Bearer {jwt}"}
    return await ask(cloud, "/edge.crt", headers, made.request), made.key


def kept(cloud: Cloud, node: str, certificate: bytes, key: bytes) -> Identity:
    identity = Identity.within(cloud.folder / "enrolled" / node, node)
    write_identity(identity, certificate, key, [cloud.credentials.authority.der])
    return identity


def settings_of(cloud: Cloud) -> Settings:
    url = f"sqlite:///{cloud.folder / 'cloud.db'}"
    return Settings(
        state_dir=cloud.folder, meta=MetaSettings(store_url=url), cloud=cloud.settings.cloud
    )


async def test_a_node_enrols_with_a_token_and_connects(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud:
        token = await make_token(settings_of(cloud), "", None)
        known = enrolment_context([], expected=Expected.ANYONE)
        authority = await ask(cloud, "/ca.crt", context=known)
        assert authority.body == cloud.credentials.authority.der
        answer, key = await enrol(cloud, "n1", token)
        assert answer.status == 200
        async with cloud.node("n1", identity=kept(cloud, "n1", answer.body, key)) as node:
            await node.ask_for_sync()


async def test_a_node_renews_with_its_certificate_and_without_a_token(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud:
        identity = cloud.identity("n1")
        made = make_request("n1")
        answer = await ask(
            cloud,
            "/edge.crt",
            {"NodeName": "n1"},
            made.request,
            context=client_context(identity),
        )
        assert answer.status == 200
        async with cloud.node("n1", identity=kept(cloud, "n1", answer.body, made.key)) as node:
            await node.ask_for_sync()


async def test_a_token_of_one_node_is_good_once_and_for_that_node_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud:
        token = await make_token(settings_of(cloud), "n1", None)
        other, _ = await enrol(cloud, "n2", token)
        assert other.status == 401
        assert b"token is for node n1" in other.body
        made = make_request("n1")
        for _ in range(2):
            # The answer may have been lost; the key is the same.
            first, _ = await enrol(cloud, "n1", token, made)
            assert first.status == 200
        second, _ = await enrol(cloud, "n1", token)
        assert second.status == 401
        assert b"was used" in second.body
        assert cloud.hub.refusals.by_reason["enrolment"] == 2


async def test_a_token_expires(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud:
        token = await make_token(settings_of(cloud), "", -1.0)
        answer, _ = await enrol(cloud, "n1", token)
        assert answer.status == 401
        assert b"token is expired" in answer.body


async def test_a_revoked_node_enrols_again_with_a_token_of_its_own_only(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud:
        settings = settings_of(cloud)
        anybody = await make_token(settings, "", None)
        first, key = await enrol(cloud, "n1", anybody)
        assert await revoke_node(settings, "n1") == 1
        await until(lambda: "n1" in cloud.credentials.revoked.nodes)
        refused, _ = await enrol(cloud, "n1", anybody)
        assert refused.status == 500
        assert b"node n1 is revoked" in refused.body
        own = await make_token(settings, "n1", None)
        await until(lambda: "n1" not in cloud.credentials.revoked.nodes)
        again, new_key = await enrol(cloud, "n1", own)
        assert again.status == 200
        # What it had before stays void.
        old = kept(cloud, "n1", first.body, key)
        status, body = await cloud.refused_upgrade(old)
        assert status == 403
        assert b"is revoked" in body
        new = kept(cloud, "n1", again.body, new_key)
        async with cloud.node("n1", identity=new) as node:
            await node.ask_for_sync()


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("GET", "/other", ({}, b""), 404),
        ("POST", "/ca.crt", ({}, b""), 405),
        ("GET", "/edge.crt", ({"NodeName": "n1"}, b"x"), 401),
        ("GET", "/edge.crt", ({"NodeName": "n1"}, b"x" * 20000), 413),
        ("GET", "/edge.crt", ({"Transfer-Encoding": "chunked", "Content-Length": ""}, b""), 400),
        ("GET", "/../../etc/passwd", ({}, b""), 404),
    ],
)
async def test_other_requests_are_refused(
    tmp_path: Path, method: str, path: str, sent: tuple[dict[str, str], bytes], status: int
) -> None:
    async with serving(tmp_path) as cloud:
        headers, body = sent
        answer = await ask(cloud, path, headers, body, method=method)
        assert answer.status == status


async def test_the_authority_outlives_the_cloud(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud:
        identity = cloud.identity("n1")
        printed = await authority_certificate(settings_of(cloud))
        der = x509.load_pem_x509_certificate(printed.encode()).public_bytes(Encoding.DER)
        assert der == cloud.credentials.authority.der
    async with serving(tmp_path) as cloud, cloud.node("n1", identity=identity) as node:
        await node.ask_for_sync()


async def test_a_name_that_can_be_no_nodes_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud:
        for name in ("N1", "-", "a b"):
            with pytest.raises(OperatorError, match="is no name of a node"):
                await revoke_node(settings_of(cloud), name)


async def test_the_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    async with serving(tmp_path) as cloud:
        key = cloud.credentials.identity.key
        modes = [path.stat().st_mode & 0o777 for path in (key, key.parent, tmp_path / "cloud.db")]
        assert modes == [0o600, 0o700, 0o600]
