"""Calls through a real agent: every backend, mode, transport and family, from pods and the node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
from interception_lab import NODE, POD, SERVER, SERVICE, call, send
from mesh import Mesh, endpoints, new_mesh, service
from mesh_servers import TcpServer, UdpServer, first_line, name_and_client

pytestmark = pytest.mark.root

PORTS = [("TCP", 80), ("UDP", 53)]
ENDPOINT_PORTS = [("TCP", 8080), ("UDP", 8053)]
NODE_PORTS = {"TCP": 30080, "UDP": 30053}
EXTERNAL = {4: "203.0.113.7", 6: "2001:db8::7"}
NODE_AT_SERVER = {4: "10.2.0.1", 6: "fd02::1"}
VERSIONS = (4, 6)
WAYS = [("nft", "tproxy"), ("nft", "redirect"), ("iptables", "tproxy"), ("iptables", "redirect")]


@contextmanager
def endpoints_of(mesh: Mesh) -> Iterator[None]:
    """Servers of both transports and families, which say who calls them."""
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


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def serving(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    """An agent that serves, in each way that there is."""
    backend, mode = request.param
    with new_mesh() as mesh, endpoints_of(mesh):
        mesh.start(netfilter={"backend": backend, "mode": mode})
        serve(mesh)
        yield mesh


def answer(namespace: str, address: str, protocol: str, port: int) -> str:
    """Call and hear who answers: ``tcp 10.2.0.1``."""
    if protocol == "TCP":
        with closing(call(namespace, address, port)) as connection:
            return first_line(connection)
    with closing(send(namespace, address, b"who?", port)) as asking:
        return asking.recv(4096).decode()


@pytest.mark.parametrize("caller", ["pod", "node"])
@pytest.mark.parametrize("version", VERSIONS)
def test_pods_and_the_node_call_by_tcp_and_udp_over_both_families(
    serving: Mesh, caller: str, version: int
) -> None:
    for protocol, port in PORTS:
        heard = answer(getattr(serving.network, caller), SERVICE[version], protocol, port)
        assert heard == f"{protocol.lower()} {NODE_AT_SERVER[version]}"


@pytest.mark.parametrize("version", VERSIONS)
def test_node_ports_are_served_at_the_nodes_addresses(serving: Mesh, version: int) -> None:
    for protocol, port in NODE_PORTS.items():
        heard = answer(serving.network.pod, NODE[version], protocol, port)
        assert heard == f"{protocol.lower()} {NODE_AT_SERVER[version]}"


@pytest.mark.parametrize("version", VERSIONS)
def test_external_ips_are_served_to_callers_from_outside(serving: Mesh, version: int) -> None:
    for protocol, port in PORTS:
        heard = answer(serving.network.pod, EXTERNAL[version], protocol, port)
        assert heard == f"{protocol.lower()} {NODE_AT_SERVER[version]}"


@pytest.mark.parametrize("backend", ["nft", "iptables"])
def test_a_preserved_source_shows_endpoints_the_clients_own_address(
    mesh: Mesh, backend: str
) -> None:
    with endpoints_of(mesh):
        mesh.start(netfilter={"backend": backend}, proxy={"source": "preserve"})
        serve(mesh)
        for version in VERSIONS:
            for protocol, port in PORTS:
                heard = answer(mesh.network.pod, SERVICE[version], protocol, port)
                assert heard == f"{protocol.lower()} {POD[version]}"


def test_an_endpoint_that_calls_its_own_service_sees_the_node(mesh: Mesh) -> None:
    with endpoints_of(mesh):
        mesh.start(proxy={"source": "preserve"})
        serve(mesh)
        for version in VERSIONS:
            for protocol, port in PORTS:
                heard = answer(mesh.network.server, SERVICE[version], protocol, port)
                assert heard == f"{protocol.lower()} {NODE_AT_SERVER[version]}"


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
