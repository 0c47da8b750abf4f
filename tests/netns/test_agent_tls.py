"""TLS stays end to end: connections are routed by server name, and nothing of them is changed."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hello_bytes import openssl_hello
from interception_lab import SERVICE, call, output
from mesh import Mesh, endpoints, service
from mesh_servers import TcpServer

from edgemesh.lab.network import command_in

pytestmark = pytest.mark.root

PORT = 443
BACKENDS = {"one": "10.2.0.2", "two": "10.2.0.3", "three": "10.2.0.4"}


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A certificate for ``NAME.example.org`` that its key has signed itself, and the key."""
    host = f"{name}.example.org"
    key, signed = directory / f"{name}.key", directory / f"{name}.crt"
    made_by = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subject = ["-nodes", "-days", "1", "-subj", f"/CN={host}"]
    names = ["-addext", f"subjectAltName=DNS:{host}"]
    files = ["-keyout", str(key), "-out", str(signed)]
    subprocess.run([*made_by, *subject, *names, *files], check=True, capture_output=True)
    return signed, key


def answer(name: str, context: ssl.SSLContext, connection: socket.socket) -> None:
    """Answer one request over TLS, with the protocol that was agreed on by ALPN."""
    if not connection.recv(1, socket.MSG_PEEK):
        return  # A trace that only connects.
    with context.wrap_socket(connection, server_side=True) as tls:
        tls.recv(65536)
        body = f"{name} {tls.selected_alpn_protocol()}"
        tls.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


@pytest.fixture(params=[30.0], ids=["patient"])
def servers(
    mesh: Mesh, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[dict[str, TcpServer]]:
    """Three Services of one TLS server each, and their own certificates in ``tmp_path``.

    Clients may stand still before they say the name: the agent waits so long for it.
    """
    where = mesh.network.server
    with ExitStack() as running:
        made: dict[str, TcpServer] = {}
        bodies: list[dict[str, Any]] = []
        for number, (name, address) in enumerate(BACKENDS.items()):
            if number:
                output(where, ["ip", "address", "add", f"{address}/24", "dev", "eth0"])
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate(tmp_path, name))
            context.set_alpn_protocols(["http/1.1"])
            handle = partial(answer, name, context)
            made[name] = running.enter_context(TcpServer(where, (address, 8443), handle))
            bodies += [
                service(name, [f"10.96.0.{number + 20}"], [("TCP", PORT)]),
                *endpoints(name, [address], [("TCP", 8443)]),
            ]
        mesh.start(proxy={"peek_deadline_seconds": request.param})
        mesh.apply(*bodies)
        yield made


def shop(declared: str) -> dict[str, Any]:
    """The Service that is called; it has no endpoints of its own."""
    body = service("shop", [SERVICE[4]], [("TCP", PORT)])
    body["spec"]["ports"][0]["name"] = declared
    return body


def virtual_service(**rules: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"hosts": ["shop"], **rules},
    }


def to(name: str, weight: int = 1) -> dict[str, Any]:
    return {"destination": {"host": name}, "weight": weight}


def by_name(match: str, name: str) -> dict[str, Any]:
    return {"match": [{"sniHosts": [match]}], "route": [to(name)]}


def curl(mesh: Mesh, certificates: Path, host: str) -> str:
    """The answer to a request that trusts the certificate of this one server alone."""
    name = host.partition(".")[0]
    resolved = f"{host}:{PORT}:{SERVICE[4]}"
    trusted = str(certificates / f"{name}.crt")
    argv = ["curl", "-sS", "-m", "30", "--resolve", resolved, "--cacert", trusted]
    return output(mesh.network.pod, [*argv, f"https://{host}/"])


def subject_seen(mesh: Mesh, host: str, *options: str) -> str:
    """The subject of the certificate that OpenSSL's client is shown."""
    called = ["-connect", f"{SERVICE[4]}:{PORT}", "-servername", host]
    argv = ["openssl", "s_client", *called, *options]
    done = subprocess.run(
        command_in(mesh.network.pod, argv),
        input="",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    [subject] = [line for line in done.stdout.splitlines() if line.startswith("subject=")]
    return subject.partition("CN")[2].strip(" =")


@pytest.mark.parametrize("declared", ["https", "shop"], ids=["declared", "not declared"])
def test_two_certificates_behind_one_service_are_told_apart_by_server_name(
    mesh: Mesh, servers: dict[str, TcpServer], tmp_path: Path, declared: str
) -> None:
    rules = [by_name("one.example.org", "one"), by_name("*.example.org", "two")]
    mesh.apply(shop(declared), virtual_service(tls=rules))
    for name in ("one", "two"):
        host = f"{name}.example.org"
        assert curl(mesh, tmp_path, host) == f"{name} http/1.1"
        assert subject_seen(mesh, host) == host
    assert not servers["three"].clients
    flows = mesh.wait_for_flows(4)
    assert Counter((flow.server_name, flow.route) for flow in flows) == {
        ("one.example.org", "VirtualService default/shop tls rule 0"): 2,
        ("two.example.org", "VirtualService default/shop tls rule 1"): 2,
    }
    assert {flow.alpn for flow in flows if flow.alpn} == {("h2", "http/1.1")}
    assert {(flow.service, flow.path) for flow in flows} == {("default/shop:443", "relay")}


def test_what_a_client_offers_by_alpn_chooses_among_routes_for_one_name(
    mesh: Mesh, servers: dict[str, TcpServer]
) -> None:
    def tls_route(name: str, **annotations: str) -> dict[str, Any]:
        return {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "TLSRoute",
            "metadata": {"name": name, "namespace": "default", "annotations": annotations},
            "spec": {
                "parentRefs": [{"group": "", "kind": "Service", "name": "shop"}],
                "hostnames": ["*.example.org"],
                "rules": [{"backendRefs": [{"name": name, "port": PORT}]}],
            },
        }

    mesh.apply(shop("https"), tls_route("one"), tls_route("two", **{"edgemesh.io/alpn": "h2"}))
    host = "any.example.org"
    assert subject_seen(mesh, host) == "one.example.org"
    assert subject_seen(mesh, host, "-alpn", "http/1.1") == "one.example.org"
    assert subject_seen(mesh, host, "-alpn", "http/1.1,h2") == "two.example.org"
    assert not servers["three"].clients


# A trace connects and says nothing.
@pytest.mark.parametrize("servers", [0.5], ids=["hurried"], indirect=True)
@pytest.mark.usefixtures("servers")
def test_a_trace_tells_where_a_name_leads(mesh: Mesh) -> None:
    mesh.apply(shop("https"), virtual_service(tls=[by_name("one.example.org", "one")]))
    argv = [
        sys.executable,
        "-m",
        "edgemesh.cli.main",
        "trace",
        "shop",
        "--config",
        str(mesh.config),
    ]
    done = subprocess.run(
        command_in(mesh.network.node, [*argv, "--server-name", "one.example.org"]),
        capture_output=True,
        text=True,
        check=False,
    )
    [decision] = [line for line in done.stdout.splitlines() if line.startswith("decision")]
    assert "10.2.0.2:8443 next by VirtualService default/shop tls rule 0;" in decision


def test_a_name_that_no_rule_has_goes_to_the_service_itself(
    mesh: Mesh, servers: dict[str, TcpServer], tmp_path: Path
) -> None:
    own = endpoints("shop", [BACKENDS["three"]], [("TCP", 8443)])
    own[0]["ports"][0]["name"] = "https"
    mesh.apply(shop("https"), *own, virtual_service(tls=[by_name("one.example.org", "one")]))
    assert curl(mesh, tmp_path, "three.example.org") == "three http/1.1"
    assert curl(mesh, tmp_path, "one.example.org") == "one http/1.1"
    assert not servers["two"].clients


def test_connections_are_shared_out_by_weight_and_a_new_weight_holds_for_the_next(
    mesh: Mesh, servers: dict[str, TcpServer]
) -> None:
    def reached(*weights: int) -> set[str]:
        shares = [to(name, weight) for name, weight in zip(BACKENDS, weights, strict=True)]
        mesh.apply(virtual_service(tcp=[{"route": shares}]))
        before = {name: len(server.clients) for name, server in servers.items()}
        for _ in range(30):
            # Waits for the server, so that it has counted.
            with closing(call(mesh.network.pod, SERVICE[4], PORT)) as connection:
                connection.sendall(openssl_hello())
                assert connection.recv(1)
        return {name for name, server in servers.items() if len(server.clients) > before[name]}

    mesh.apply(shop("tcp"))
    assert reached(1, 1, 0) == {"one", "two"}
    assert reached(0, 0, 1) == {"three"}
