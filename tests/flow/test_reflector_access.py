"""How an API server is found, and how it is shown who asks."""

from __future__ import annotations

import base64
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml
from apiserver.answers import Answer, Request
from apiserver.front import Streamed
from apiserver.server import ApiServer, run_apiserver
from cryptography import x509
from pki_fixtures import a_cloud, a_node, an_authority

from edgemesh.bus.pki.authority import Authority
from edgemesh.cloud import identity as identity_module
from edgemesh.cloud.access import SilentError, UnreachableError, open_access
from edgemesh.cloud.identity import read_identity
from edgemesh.model.errors import OperatorError
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.policy.reflector.course import Server

SERVICES = "/api/v1/services"
Document = dict[str, Any]


class Secured:
    """An API server that wants certificates of its clients.

    Attributes:
        seen: subjects and serial numbers of those that came.
    """

    def __init__(self, folder: Path) -> None:
        self.authority: Authority = an_authority()
        self.identity = a_cloud(self.authority, folder)
        self.folder = folder
        self.server = ApiServer()
        self.seen: list[tuple[str, int]] = []
        self.url = ""

    def client(self, name: str) -> tuple[Path, Path]:
        """Files of a certificate and its key."""
        both = a_node(self.authority, self.folder, name).certificate.read_text()
        end = both.index("-----BEGIN PRIVATE KEY")
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_text(both[:end])
        key.write_text(both[end:])
        return certificate, key

    async def serve(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError:
            return
        der = stream.getpeercert(binary_form=True)
        certificate = x509.load_der_x509_certificate(der)
        self.seen.append((certificate.subject.rfc4514_string(), certificate.serial_number))
        await self.server.serve(stream)


@asynccontextmanager
async def secured(folder: Path) -> AsyncIterator[Secured]:
    """The same, on TCP."""
    made = Secured(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.identity.certificate, made.identity.key)
    context.load_verify_locations(made.identity.bundle)
    context.verify_mode = ssl.CERT_REQUIRED
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, host="127.0.0.1")
        (listener,) = await nursery.start(serve, made.serve, 0, context)
        made.url = f"https://127.0.0.1:{listener.transport_listener.socket.getsockname()[1]}"
        yield made
        nursery.cancel_scope.cancel()


def kubeconfig(path: Path, cluster: Document, user: Document) -> KubernetesSettings:
    """Write a kubeconfig; settings that name it."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return KubernetesSettings(server="kubeconfig", kubeconfig=str(path))


async def test_a_kubeconfig_shows_a_client_certificate_out_of_files(tmp_path: Path) -> None:
    async with secured(tmp_path) as made:
        certificate, key = made.client("node-a")
        settings = kubeconfig(
            tmp_path / "config",
            {"server": made.url, "certificate-authority": str(made.identity.bundle)},
            {"client-certificate": str(certificate), "client-key": str(key)},
        )
        async with open_access(settings) as access:
            answer = await access.request("GET", SERVICES)
    assert answer.status == 200
    assert "node-a" in made.seen[0][0]


async def test_a_kubeconfig_shows_a_client_certificate_out_of_itself(tmp_path: Path) -> None:
    def data(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    async with secured(tmp_path) as made:
        certificate, key = made.client("node-a")
        settings = kubeconfig(
            tmp_path / "config",
            {"server": made.url, "certificate-authority-data": data(made.identity.bundle)},
            {"client-certificate-data": data(certificate), "client-key-data": data(key)},
        )
        async with open_access(settings) as access:
            assert (await access.request("GET", SERVICES)).status == 200


async def test_a_certificate_that_was_renewed_is_shown_from_the_next_request_on(
    tmp_path: Path,
) -> None:
    async with secured(tmp_path) as made:
        certificate, key = made.client("node-a")
        settings = kubeconfig(
            tmp_path / "config",
            {"server": made.url, "certificate-authority": str(made.identity.bundle)},
            {"client-certificate": str(certificate), "client-key": str(key)},
        )
        async with open_access(settings) as access:
            await access.request("GET", SERVICES)
            later, later_key = made.client("node-b")
            # Half of it is no identity; what there was goes on.
            shutil.copy(later, certificate)
            assert (await access.request("GET", SERVICES)).status == 200
            shutil.copy(later_key, key)
            assert (await access.request("GET", SERVICES)).status == 200
    assert ["node-b" in subject for subject, _ in made.seen] == [False, True]


async def test_a_server_that_somebody_else_has_signed_is_not_talked_to(tmp_path: Path) -> None:
    async with secured(tmp_path) as made:
        settings = KubernetesSettings(
            server=made.url, ca_file=str(a_cloud(an_authority(), tmp_path / "other").bundle)
        )
        async with open_access(settings) as access:
            with pytest.raises(UnreachableError, match="certificate verify failed"):
                await access.request("GET", SERVICES)
    assert made.seen == []


async def test_in_a_cluster_the_service_account_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with secured(tmp_path) as made:
        # The Pod's folder, as kubelet writes it.
        account = tmp_path / "account"
        account.mkdir()
        (account / "token").write_text("of-the-pod\n")
        (account / "namespace").write_text("edgemesh")
        shutil.copy(made.identity.bundle, account / "ca.crt")
        made.server.tokens = {"of-the-pod"}
        host, port = made.url.removeprefix("https://").split(":")
        monkeypatch.setattr(identity_module, "SERVICE_ACCOUNT", str(account))
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
        read = read_identity(KubernetesSettings(server="in-cluster"))
    assert read.url == made.url
    assert read.files == (account / "ca.crt",)
    assert read.auth is not None


async def test_a_token_is_read_out_of_its_file_and_again_when_it_is_refused(
    tmp_path: Path,
) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    async with run_apiserver(token="first") as server:
        settings = KubernetesSettings(server=server.url, token_file=str(token))
        async with open_access(settings) as access:
            assert (await access.request("GET", SERVICES)).status == 200
            token.write_text("second\n")
            server.tokens = {"second"}
            assert (await access.request("GET", SERVICES)).status == 200
            token.unlink()
            server.tokens = {"third"}
            with pytest.raises(UnreachableError, match="token"):
                await access.request("GET", SERVICES)


async def test_who_answers_shows_in_the_answer() -> None:
    servers = []
    async with (
        run_apiserver() as server,
        open_access(KubernetesSettings(server=server.url)) as access,
    ):
        servers.append(access.server)
        await access.request("GET", "/version")
        servers.append(access.server)
    assert servers == [Server.UNKNOWN, Server.API_SERVER]


async def test_a_body_is_sent_as_what_it_is() -> None:
    path = "/api/v1/namespaces/default/services"
    body = {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}
    async with run_apiserver() as server:
        async with open_access(KubernetesSettings(server=f"{server.url}/")) as access:
            created = await access.request(
                "POST", path, body={"apiVersion": "v1", "kind": "Service", **body}
            )
            patched = await access.request(
                "PATCH",
                f"{path}/a",
                body={"metadata": {"labels": {"l": "1"}}},
                content_type="application/merge-patch+json",
            )
            assert (created.status, patched.status) == (201, 200)
        (found,) = server.objects(SERVICES).values()
        assert found["metadata"]["labels"] == {"l": "1"}


async def test_what_is_sent_packed_is_unpacked_and_held_against_the_limit() -> None:
    settings = KubernetesSettings(max_list_bytes=300_000)
    async with run_apiserver() as server:
        for name in ("a", "b"):
            metadata = {"name": name, "annotations": {"note": "x" * 140_000}}
            server.put(SERVICES, {"metadata": metadata, "spec": {"ports": [{"port": 80}]}})
        settings = KubernetesSettings(server=server.url, max_list_bytes=300_000)
        async with open_access(settings) as access:
            answer = await access.request("GET", SERVICES)
            assert answer.headers["content-encoding"] == "gzip"
            assert len(answer.body) > 280_000
            server.put(SERVICES, {"metadata": {**metadata, "name": "c"}, "spec": {}})
            with pytest.raises(UnreachableError, match="more than 300000 bytes"):
                await access.request("GET", SERVICES)


async def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    class Slow(ApiServer):
        async def result(self, _request: Request) -> Answer | Streamed:
            await trio.sleep_forever()
            raise AssertionError

    server = Slow()
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, server.serve, [listener])
        settings = KubernetesSettings(server=f"http://127.0.0.1:{port}", request_seconds=0.2)
        async with open_access(settings) as access:
            with pytest.raises(SilentError):
                await access.request("GET", SERVICES)
        nursery.cancel_scope.cancel()


async def test_the_kernel_finds_out_that_the_other_end_of_a_silent_watch_has_vanished() -> None:
    async with (
        run_apiserver() as server,
        open_access(KubernetesSettings(server=server.url)) as access,
        access.stream(SERVICES, {"watch": "true", "timeoutSeconds": "60"}, 60.0),
    ):
        to_server = f":{int(server.url.rpartition(':')[2]):04X}"
        table = await trio.Path("/proc/net/tcp").read_text()
        rows = map(str.split, table.splitlines()[1:])
        (timer,) = [row[5] for row in rows if row[2].endswith(to_server) and row[3] == "01"]
    # proc_net_tcp.rst: 2 is the timer of keepalives (the others are not at work in silence); it
    # goes off within 10 seconds, in hundredths.
    kind, _, when = timer.partition(":")
    assert kind == "02"
    assert int(when, 16) <= 1000


def _absent(folder: Path) -> KubernetesSettings:
    return KubernetesSettings(server="kubeconfig", kubeconfig=str(folder / "nowhere"))


def _no_yaml(folder: Path) -> KubernetesSettings:
    settings = kubeconfig(folder / "config", {}, {})
    (folder / "config").write_text("{")
    return settings


def _a_list(folder: Path) -> KubernetesSettings:
    settings = kubeconfig(folder / "config", {}, {})
    (folder / "config").write_text("- a")
    return settings


def _wrong_type(folder: Path) -> KubernetesSettings:
    return kubeconfig(folder / "config", {"server": 5}, {})


def _other_context(folder: Path) -> KubernetesSettings:
    kubeconfig(folder / "config", {"server": "http://a"}, {})
    path = str(folder / "config")
    return KubernetesSettings(server="kubeconfig", kubeconfig=path, context="there")


def _command(folder: Path) -> KubernetesSettings:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "aws"}
    return kubeconfig(folder / "config", {"server": "http://a"}, {"exec": plugin})


def _no_key(folder: Path) -> KubernetesSettings:
    user = {"client-certificate": "gone", "client-key": "gone"}
    return kubeconfig(folder / "config", {"server": "https://a"}, user)


def _no_authority(folder: Path) -> KubernetesSettings:
    return KubernetesSettings(server="https://a", ca_file=str(folder / "gone"))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (_absent, "nowhere not found"),
        (_no_yaml, "cannot be used"),
        (_a_list, "cannot be used"),
        (_wrong_type, "Expected `str`"),
        (_other_context, "Context 'there' not found"),
        (_command, "from a command"),
        (_no_key, "No such file"),
        (_no_authority, "No such file"),
        (lambda _: KubernetesSettings(server="kubernetes"), "not a URL"),
        (lambda _: KubernetesSettings(server="ftp://a"), "not a URL"),
        (lambda _: KubernetesSettings(server="http://a:b"), "cannot be used"),
        (lambda _: KubernetesSettings(server="https://me:secret@a"), "must not carry a password"),
    ],
)
def test_what_cannot_be_used_is_told_to_the_operator(
    settings: Callable[[Path], KubernetesSettings], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(OperatorError, match=problem) as raised:
        read_identity(settings(tmp_path))
    assert "secret" not in str(raised.value)


def test_outside_of_a_cluster_there_is_no_service_account(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(identity_module, "SERVICE_ACCOUNT", str(tmp_path))
    with pytest.raises(OperatorError, match="token"):
        read_identity(KubernetesSettings(server="in-cluster"))
    # A Pod that has turned its environment off.
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("n")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(OperatorError, match="KUBERNETES_SERVICE_HOST' is missing"):
        read_identity(KubernetesSettings(server="in-cluster"))
