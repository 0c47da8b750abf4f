"""What the rules do to calls of an endpoint of the node: those from elsewhere are diverted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Literal

import pytest
from interception_lab import (
    BACKENDS,
    NODE,
    PATIENCE_SECONDS,
    PORT,
    SERVER,
    VERSIONS,
    Agent,
    Lab,
    call,
    greeting,
    installed,
    listener,
    send,
)

from edgemesh.kernel import sockets
from edgemesh.kernel.netfilter import Interception
from edgemesh.model.services import InboundAddress, Transport
from edgemesh.model.settings import NetfilterSettings

pytestmark = pytest.mark.root

ENDPOINTS = tuple(
    InboundAddress(address, transport, PORT)
    for address in (*SERVER.values(), *NODE.values())
    for transport in Transport
)


@pytest.fixture(params=BACKENDS)
def idle(request: pytest.FixtureRequest, pod_node_server: Lab) -> Iterator[Interception]:
    """TPROXY rules on the node that divert nothing yet."""
    settings = NetfilterSettings(backend=request.param)
    with installed(pod_node_server, settings, ()) as interception:
        yield interception


@pytest.fixture
def diverted(idle: Interception, pod_node_server: Lab) -> Interception:
    """The same for the server and the node itself as endpoints of the node."""
    pod_node_server.on_node(lambda: idle.update(ENDPOINTS, ()))
    return idle


@pytest.fixture(params=BACKENDS)
def redirected(request: pytest.FixtureRequest, pod_node_server: Lab) -> Iterator[Interception]:
    """REDIRECT rules for them."""
    settings = NetfilterSettings(backend=request.param, mode="redirect")
    with installed(pod_node_server, settings, ENDPOINTS) as interception:
        yield interception


@pytest.mark.parametrize("endpoint", [SERVER, NODE], ids=["pod", "host-network"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection_from_elsewhere_reaches_the_listener_with_the_endpoint_as_its_own_address(
    diverted: Interception, pod_node_server: Lab, version: int, endpoint: dict[int, str]
) -> None:
    with Agent(pod_node_server.node) as agent:
        client = call(pod_node_server.pod, endpoint[version])
        destination, source = agent.accept(version)
        assert destination == (endpoint[version], PORT)
        assert source == client.getsockname()[:2]
        assert greeting(client) == b"agent"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_datagram_from_elsewhere_is_diverted_and_answered_from_the_endpoints_address(
    diverted: Interception, pod_node_server: Lab, version: int
) -> None:
    with Agent(pod_node_server.node) as agent:
        client = send(pod_node_server.pod, SERVER[version])
        destination, source = agent.receive(version)
        assert destination == (SERVER[version], PORT)
        reply = pod_node_server.on_node(lambda: sockets.answering_socket(destination, 0x46))
        with closing(reply):
            reply.sendto(b"pong", source)
            assert greeting(client) == b"pong"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", ["tproxy", "redirect"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_nodes_own_calls_of_endpoints_pass(
    pod_node_server: Lab,
    backend: Literal["nft", "iptables"],
    mode: Literal["tproxy", "redirect"],
    version: int,
) -> None:
    lab = pod_node_server
    places = ((lab.server, SERVER[version]), (lab.node, NODE[version]))
    settings = NetfilterSettings(backend=backend, mode=mode)
    with installed(lab, settings, ENDPOINTS), Agent(lab.node, transparent=mode == "tproxy"):
        for namespace, address in places:
            with closing(listener(namespace, address, PORT)) as endpoint:
                call(lab.node, address).close()
                endpoint.accept()[0].close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection_that_an_endpoint_has_already_goes_on(
    idle: Interception, pod_node_server: Lab, version: int
) -> None:
    with (
        Agent(pod_node_server.node) as agent,
        closing(listener(pod_node_server.server, SERVER[version], PORT)) as endpoint,
        closing(call(pod_node_server.pod, SERVER[version])) as client,
    ):
        with closing(endpoint.accept()[0]) as connection:
            pod_node_server.on_node(lambda: idle.update(ENDPOINTS, ()))
            client.sendall(b"still here")
            assert connection.recv(64) == b"still here"
            connection.sendall(b"endpoint")
            assert client.recv(64) == b"endpoint"
        later = call(pod_node_server.pod, SERVER[version])
        agent.accept(version)
        assert greeting(later) == b"agent"


@pytest.mark.parametrize("version", VERSIONS)
def test_calls_of_an_endpoint_that_is_none_any_more_pass(
    diverted: Interception, pod_node_server: Lab, version: int
) -> None:
    with (
        Agent(pod_node_server.node) as agent,
        closing(listener(pod_node_server.server, SERVER[version], PORT)) as endpoint,
    ):
        held = call(pod_node_server.pod, SERVER[version])
        connection, _ = agent.tcp[version].accept()
        pod_node_server.on_node(lambda: diverted.update((), ENDPOINTS))
        with closing(connection):
            connection.sendall(b"agent")
            assert greeting(held) == b"agent"
        call(pod_node_server.pod, SERVER[version]).close()
        endpoint.accept()[0].close()


@pytest.mark.parametrize("version", VERSIONS)
def test_without_a_listener_calls_of_an_endpoint_pass(pod_node_server: Lab, version: int) -> None:
    with (
        installed(pod_node_server, NetfilterSettings(), ENDPOINTS),
        closing(listener(pod_node_server.server, SERVER[version], PORT)) as endpoint,
    ):
        call(pod_node_server.pod, SERVER[version]).close()
        endpoint.accept()[0].close()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_process_of_the_node_answers_the_agent_at_a_clients_address(
    diverted: Interception, pod_node_server: Lab, version: int, kind: socket.SocketKind
) -> None:
    lab = pod_node_server
    address = NODE[version]

    def dial() -> socket.socket:
        sock = sockets.dialling_socket(address, kind, 0x46, SERVER[version])
        sock.settimeout(PATIENCE_SECONDS)
        sock.connect((address, PORT))
        sock.send(b"ping")
        return sock

    with closing(lab.on_node(lambda: bound(address, kind))) as endpoint, Agent(lab.node):
        upstream = lab.on_node(dial)
        connection = endpoint.accept()[0] if kind is socket.SOCK_STREAM else endpoint
        with closing(connection):
            ping, client = connection.recvfrom(64)
            assert ping == b"ping"
            client = client or connection.getpeername()
            assert client[0] == SERVER[version]
            connection.sendto(b"endpoint", client)
            assert greeting(upstream) == b"endpoint"


def bound(address: str, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(sockets.family_of(address), kind)
    sock.settimeout(PATIENCE_SECONDS)
    sock.bind((address, PORT))
    if kind is socket.SOCK_STREAM:
        sock.listen()
    return sock


@pytest.mark.parametrize("version", VERSIONS)
def test_redirect_keeps_the_endpoint_as_the_original_destination(
    redirected: Interception, pod_node_server: Lab, version: int
) -> None:
    with Agent(pod_node_server.node, transparent=False) as agent:
        client = call(pod_node_server.pod, SERVER[version])
        assert agent.accept(version)[0] == (SERVER[version], PORT)
        assert greeting(client) == b"agent"
