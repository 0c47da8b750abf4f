"""Calls that reach an endpoint of this node at its own address pass the transport server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from inbound_mesh import ENDPOINT_PORT, inbound_addresses, limits, web_of_this_node
from interception_lab import NODE, POD, PORT, SERVER, SERVICE, call, send
from lab_homes import wait_for
from mesh import Mesh
from mesh_servers import TcpServer, UdpServer, first_line, name_and_client

pytestmark = pytest.mark.root

VERSIONS = (4, 6)
OTHER_WAYS = [("iptables", "tproxy"), ("iptables", "redirect"), ("nft", "redirect")]
NODE_AT_SERVER = {4: "10.2.0.1", 6: "fd02::1"}
ONE_AT_A_TIME = limits(concurrency={"maxConcurrent": 1, "maxQueue": 0})


@pytest.fixture
def limited(mesh: Mesh) -> Iterator[Mesh]:
    """An agent for a Service whose servers take one call at a time, and such servers."""
    with (
        TcpServer(mesh.network.server, (SERVER[4], ENDPOINT_PORT), name_and_client("endpoint")),
        TcpServer(mesh.network.server, (SERVER[6], ENDPOINT_PORT), name_and_client("endpoint")),
    ):
        mesh.start()
        mesh.apply(*web_of_this_node(appProtocol="tcp"), ONE_AT_A_TIME)
        wait_for(lambda: len(inbound_addresses(mesh)) == 2, "rules follow")
        yield mesh


@pytest.mark.parametrize("version", VERSIONS)
def test_an_endpoint_sees_who_called_it(limited: Mesh, version: int) -> None:
    with closing(call(limited.network.pod, SERVER[version], ENDPOINT_PORT)) as connection:
        assert first_line(connection) == f"endpoint {POD[version]}"
    (flow,) = limited.wait_for_flows(1)
    assert (flow.service, flow.path) == (f"default/web:{PORT}", "relay")


@pytest.mark.parametrize("version", VERSIONS)
def test_calls_of_the_service_and_of_the_endpoint_count_together(
    limited: Mesh, version: int
) -> None:
    with closing(call(limited.network.pod, SERVICE[version], PORT)) as held:
        assert first_line(held).startswith("endpoint")
        assert is_reset(limited, version)
    wait_for(lambda: not is_reset(limited, version), "there is room again")


@pytest.mark.parametrize("version", VERSIONS)
def test_datagrams_beyond_the_quota_are_dropped_and_an_endpoint_sees_who_sends(
    mesh: Mesh, version: int
) -> None:
    seen: list[bytes] = []

    def answer(data: bytes, client: str) -> bytes:
        seen.append(data)
        return client.encode()

    with UdpServer(mesh.network.server, (SERVER[version], ENDPOINT_PORT), answer):
        mesh.start()
        mesh.apply(*web_of_this_node(), limits(qps={"server": {"rate": 0.01, "burst": 3}}))
        wait_for(lambda: len(inbound_addresses(mesh)) == 4, "rules follow")
        with closing(send(mesh.network.pod, SERVER[version], b"0", ENDPOINT_PORT)) as client:
            assert client.recv(64).decode() == POD[version]
            for number in range(1, 6):
                client.send(b"%d" % number)
            wait_for(lambda: mesh.status()["flows"]["refused"] == {"server-quota": 3}, "drops")
        # The agent counts what it drops while the server still reads what it let pass.
        wait_for(lambda: len(seen) >= 3, "the endpoint has read what passed")
        assert seen == [b"0", b"1", b"2"]
        mesh.apply(limits())
        wait_for(lambda: not inbound_addresses(mesh), "rules follow")
        with closing(send(mesh.network.pod, SERVER[version], b"after", ENDPOINT_PORT)) as client:
            assert client.recv(64).decode() == POD[version]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("backend", "mode"), OTHER_WAYS)
def test_limits_hold_whatever_intercepts(mesh: Mesh, backend: str, mode: str, version: int) -> None:
    # Only tproxy lets an endpoint see who calls.
    seen = POD if mode == "tproxy" else NODE_AT_SERVER
    where = (SERVER[version], ENDPOINT_PORT)
    with (
        TcpServer(mesh.network.server, where, name_and_client("endpoint")),
        UdpServer(mesh.network.server, where, lambda _, client: client.encode()),
    ):
        mesh.start(netfilter={"backend": backend, "mode": mode})
        policy = limits(qps={"server": {"rate": 0.01, "burst": 1}})
        mesh.apply(*web_of_this_node(appProtocol="tcp"), policy)
        wait_for(lambda: mesh.status()["interception"]["endpoints"] == 4, "rules follow")
        with closing(call(mesh.network.pod, *where)) as connection:
            assert first_line(connection) == f"endpoint {seen[version]}"
        assert is_reset(mesh, version)
        with closing(send(mesh.network.pod, SERVER[version], b"0", ENDPOINT_PORT)) as client:
            assert client.recv(64).decode() == seen[version]
            client.send(b"1")
            # One was the second connection.
            refused = {"server-quota": 2}
            wait_for(lambda: mesh.status()["flows"]["refused"] == refused, "a datagram is dropped")


def test_without_a_limit_nothing_is_intercepted_at_endpoints(limited: Mesh) -> None:
    limited.apply(limits(qps={"client": {"rate": 1000}}))
    wait_for(lambda: not inbound_addresses(limited), "rules follow")
    assert limited.status()["interception"]["endpoints"] == 0
    with closing(call(limited.network.pod, SERVER[4], ENDPOINT_PORT)) as connection:
        assert first_line(connection) == f"endpoint {POD[4]}"
    call(limited.network.pod, SERVICE[4], PORT).close()
    (flow,) = limited.wait_for_flows(1)
    assert flow.destination == f"{SERVICE[4]}:{PORT}"


def test_connections_go_on_while_limits_come_and_go(limited: Mesh) -> None:
    with closing(call(limited.network.pod, SERVER[4], ENDPOINT_PORT)) as by_agent:
        assert first_line(by_agent).startswith("endpoint")
        limited.apply(limits())
        wait_for(lambda: not inbound_addresses(limited), "rules follow")
        with closing(call(limited.network.pod, SERVER[4], ENDPOINT_PORT)) as past_agent:
            assert first_line(past_agent).startswith("endpoint")
            limited.apply(ONE_AT_A_TIME)
            wait_for(lambda: bool(inbound_addresses(limited)), "rules follow")
            assert is_reset(limited, 4)
            for connection in (by_agent, past_agent):
                connection.sendall(b"still here")
                assert connection.recv(64) == b"still here"


def test_the_nodes_own_calls_of_an_endpoint_are_not_limited(limited: Mesh) -> None:
    with closing(call(limited.network.pod, SERVER[4], ENDPOINT_PORT)) as held:
        assert first_line(held).startswith("endpoint")
        with closing(call(limited.network.node, SERVER[4], ENDPOINT_PORT)) as probe:
            assert first_line(probe).startswith("endpoint")


@pytest.mark.parametrize("version", VERSIONS)
def test_an_endpoint_on_the_nodes_own_address_sees_who_called_it(mesh: Mesh, version: int) -> None:
    where = (NODE[version], ENDPOINT_PORT)
    with TcpServer(mesh.network.node, where, name_and_client("endpoint")):
        mesh.start()
        mesh.apply(*web_of_this_node((NODE[version],), appProtocol="tcp"), ONE_AT_A_TIME)
        wait_for(lambda: bool(inbound_addresses(mesh)), "rules follow")
        with closing(call(mesh.network.server, *where)) as connection:
            assert first_line(connection) == f"endpoint {SERVER[version]}"
            connection.sendall(b"x" * 100_000)
            assert len(received(connection, 100_000)) == 100_000
            assert mesh.status()["flows"]["tcp_open"] == 1


def test_calls_of_an_endpoint_pass_when_the_agent_was_killed(limited: Mesh) -> None:
    limited.kill()
    with (
        closing(call(limited.network.pod, SERVER[4], ENDPOINT_PORT)) as one,
        closing(call(limited.network.pod, SERVER[4], ENDPOINT_PORT)) as other,
    ):
        assert first_line(one) == first_line(other) == f"endpoint {POD[4]}"


def received(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(65536)
        assert part
        data += part
    return data


def is_reset(mesh: Mesh, version: int) -> bool:
    try:
        with closing(call(mesh.network.pod, SERVER[version], ENDPOINT_PORT)) as connection:
            return not first_line(connection)
    except ConnectionResetError:
        return True
