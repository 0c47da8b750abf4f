"""A Pod's sockets are made in its namespace and used from here."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from interception_lab import POD, SERVER, Lab, inside

from edgemesh.kernel.pod_socket import pod_socket
from edgemesh.model.errors import OperatorError

pytestmark = pytest.mark.root


def socket_from_node(
    lab: Lab,
    address: str,
    family: socket.AddressFamily = socket.AF_INET,
    kind: socket.SocketKind = socket.SOCK_STREAM,
) -> socket.socket:
    return lab.on_node(lambda: pod_socket(address, family, kind))


def server_of(lab: Lab, version: int = 4) -> socket.socket:
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    return inside(lab.server, lambda: socket.create_server((SERVER[version], 8080), family=family))


@pytest.mark.parametrize("version", [4, 6])
def test_a_call_from_a_pods_socket_comes_from_the_pod(pod_node_server: Lab, version: int) -> None:
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    with (
        server_of(pod_node_server, version) as server,
        socket_from_node(pod_node_server, POD[version], family) as client,
    ):
        client.settimeout(5)
        client.connect((SERVER[version], 8080))
        accepted, peer = server.accept()
        accepted.close()
    assert peer[0] == POD[version]


def test_the_socket_may_be_of_another_family_than_the_address(pod_node_server: Lab) -> None:
    with (
        server_of(pod_node_server) as server,
        socket_from_node(pod_node_server, POD[6], socket.AF_INET) as client,
    ):
        client.settimeout(5)
        client.connect((SERVER[4], 8080))
        accepted, peer = server.accept()
        accepted.close()
    assert peer[0] == POD[4]


def test_the_socket_is_of_the_kind_that_was_asked_for(pod_node_server: Lab) -> None:
    with socket_from_node(pod_node_server, POD[4], kind=socket.SOCK_DGRAM) as datagram:
        assert datagram.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_DGRAM


def test_of_two_pods_with_one_address_the_nodes_own_is_meant(
    pod_node_server: Lab, namespace_prefix: str
) -> None:
    twin = Lab(f"{namespace_prefix}2-")
    twin.build()
    for lab in (pod_node_server, twin):
        with server_of(lab), socket_from_node(lab, POD[4]) as client:
            client.settimeout(5)
            client.connect((SERVER[4], 8080))


def test_this_process_stays_in_its_namespace(pod_node_server: Lab) -> None:
    before = Path("/proc/thread-self/ns/net").readlink()
    socket_from_node(pod_node_server, POD[4]).close()
    assert Path("/proc/thread-self/ns/net").readlink() == before


def test_an_address_that_no_namespace_has_is_refused_in_one_line() -> None:
    with pytest.raises(OperatorError, match=r"192\.0\.2\.77: no namespace here has it"):
        pod_socket("192.0.2.77", socket.AF_INET, socket.SOCK_STREAM)
