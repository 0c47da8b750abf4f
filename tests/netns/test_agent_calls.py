"""Calls through a real agent: every backend, mode, transport and family, from pods and the node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from interception_lab import NODE, POD, SERVER, SERVICE, call, send
from mesh import Mesh, endpoints, service
from mesh_servers import TcpServer, UdpServer, first_line, name_and_client

pytestmark = pytest.mark.root

PORTS = [("TCP", 80), ("UDP", 53)]
ENDPOINT_PORTS = [("TCP", 8080), ("UDP", 8053)]
NODE_PORTS = {"TCP": 30080, "UDP": 30053}
EXTERNAL = {4: "203.0.113.7", 6: "2001:db8::7"}
NODE_AT_SERVER = {4: "10.2.0.1", 6: "fd02::1"}
VERSIONS = (4, 6)
WAYS = [("nft", "tproxy"), ("nft", "redirect"), ("iptables", "tproxy"), ("iptables", "redirect")]


@pytest.fixture
def server(mesh: Mesh) -> Iterator[None]:
    """Endpoints of both transports and families, which say who calls them."""
    with ExitStack() as running:
        for address in SERVER.values():
            where = mesh.network.server
            tcp = TcpServer(where, (address, 8080), name_and_client("tcp"))
            udp = UdpServer(where, (address, 8053), lambda _, client: f"udp {client}".encode())
            running.enter_context(tcp)
            running.enter_context(udp)
        yield


def serve(mesh: Mesh) -> None:
    mesh.apply(
        service(
            "web",
            list(SERVICE.values()),
            PORTS,
            external=list(EXTERNAL.values()),
            node_ports=NODE_PORTS,
        ),
        *endpoints("web", list(SERVER.values()), ENDPOINT_PORTS),
    )


def answer(namespace: str, address: str, protocol: str, port: int) -> str:
    """Call and hear who answers: ``tcp 10.2.0.1``."""
    if protocol == "TCP":
        with closing(call(namespace, address, port)) as connection:
            return first_line(connection)
    with closing(send(namespace, address, b"who?", port)) as asking:
        return asking.recv(4096).decode()


@pytest.mark.parametrize(("backend", "mode"), WAYS)
def test_pods_and_the_node_call_by_tcp_and_udp_over_both_families(
    mesh: Mesh, server: None, backend: str, mode: str
) -> None:
    mesh.start(netfilter={"backend": backend, "mode": mode})
    serve(mesh)
    for caller in (mesh.network.pod, mesh.network.node):
        for version in VERSIONS:
            for protocol, port in PORTS:
                heard = answer(caller, SERVICE[version], protocol, port)
                assert heard == f"{protocol.lower()} {NODE_AT_SERVER[version]}"


@pytest.mark.parametrize(("backend", "mode"), WAYS)
def test_node_ports_are_served_at_the_nodes_addresses_and_external_ips_from_outside(
    mesh: Mesh, server: None, backend: str, mode: str
) -> None:
    mesh.start(netfilter={"backend": backend, "mode": mode})
    serve(mesh)
    for version in VERSIONS:
        for protocol, port in PORTS:
            expected = f"{protocol.lower()} {NODE_AT_SERVER[version]}"
            outside = mesh.network.pod
            assert answer(outside, NODE[version], protocol, NODE_PORTS[protocol]) == expected
            assert answer(outside, EXTERNAL[version], protocol, port) == expected


@pytest.mark.parametrize("backend", ["nft", "iptables"])
def test_a_preserved_source_shows_endpoints_the_clients_own_address(
    mesh: Mesh, server: None, backend: str
) -> None:
    mesh.start(netfilter={"backend": backend}, proxy={"source": "preserve"})
    serve(mesh)
    for version in VERSIONS:
        for protocol, port in PORTS:
            heard = answer(mesh.network.pod, SERVICE[version], protocol, port)
            assert heard == f"{protocol.lower()} {POD[version]}"


def test_two_agents_side_by_side_serve_the_same_address_each_from_its_own(
    mesh: Mesh, other_mesh: Mesh
) -> None:
    servers = {}
    with ExitStack() as running:
        for name, each in (("one", mesh), ("other", other_mesh)):
            servers[name] = running.enter_context(
                TcpServer(each.network.server, (SERVER[4], 8080), name_and_client(name))
            )
            each.start()
            serve(each)
        for name, each in (("one", mesh), ("other", other_mesh)):
            heard = answer(each.network.pod, SERVICE[4], "TCP", 80)
            assert heard == f"{name} {NODE_AT_SERVER[4]}"
    assert all(len(server.clients) == 1 for server in servers.values())
