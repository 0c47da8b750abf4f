"""A Pod's sockets are made in its namespace and used from here."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from interception_lab import POD, SERVER, Lab, inside

from edgemesh.kernel.pod_sockets import pod_sockets
from edgemesh.model.errors import OperatorError

pytestmark = pytest.mark.root


def sockets_from_node(lab: Lab, address: str, *kinds: socket.SocketKind) -> list[socket.socket]:
    return lab.on_node(lambda: pod_sockets(address, kinds))


@pytest.mark.parametrize("version", [4, 6])
def test_a_call_from_a_pods_socket_comes_from_the_pod(pod_node_server: Lab, version: int) -> None:
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    [client] = sockets_from_node(pod_node_server, POD[version], socket.SOCK_STREAM)
    with (
        inside(
            pod_node_server.server,
            lambda: socket.create_server((SERVER[version], 8080), family=family),
        ) as server,
        client,
    ):
        client.settimeout(5)
        client.connect((SERVER[version], 8080))
        accepted, peer = server.accept()
        accepted.close()
    assert peer[0] == POD[version]


def test_sockets_are_of_the_kinds_that_were_asked_for(pod_node_server: Lab) -> None:
    kinds = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
    for kind, each in zip(kinds, sockets_from_node(pod_node_server, POD[4], *kinds), strict=True):
        with each:
            assert each.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == kind


def test_of_two_pods_with_one_address_the_nodes_own_is_meant(
    pod_node_server: Lab, namespace_prefix: str
) -> None:
    twin = Lab(f"{namespace_prefix}2-")
    twin.build()
    for lab in (pod_node_server, twin):
        with sockets_from_node(lab, POD[4], socket.SOCK_STREAM)[0] as client:
            server = inside(lab.server, lambda: socket.create_server((SERVER[4], 8080)))
            with server:
                client.settimeout(5)
                client.connect((SERVER[4], 8080))


def test_this_process_stays_in_its_namespace(pod_node_server: Lab) -> None:
    before = Path("/proc/thread-self/ns/net").readlink()
    sockets_from_node(pod_node_server, POD[4], socket.SOCK_DGRAM)[0].close()
    assert Path("/proc/thread-self/ns/net").readlink() == before


def test_an_address_that_no_namespace_has_is_refused_in_one_line() -> None:
    with pytest.raises(OperatorError, match=r"192\.0\.2\.77: no namespace here has it"):
        pod_sockets("192.0.2.77", [socket.SOCK_STREAM])
