"""What the rules do to packets: each backend, each mode, each family, TCP and UDP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from interception_lab import (
    BACKENDS,
    NODE,
    PATIENCE_SECONDS,
    POD,
    PORT,
    SERVER,
    SERVICE,
    SERVICES,
    VERSIONS,
    Agent,
    Lab,
    call,
    greeting,
    inside,
    installed,
    listener,
    send,
)

from edgemesh.kernel import sockets
from edgemesh.kernel.netfilter import Interception
from edgemesh.model.services import NodePort, ServiceAddress, Transport
from edgemesh.model.settings import NetfilterSettings

pytestmark = pytest.mark.root


@pytest.fixture(params=BACKENDS)
def diverted(request: pytest.FixtureRequest, pod_node_server: Lab) -> Iterator[Interception]:
    """TPROXY rules for the services on the node."""
    settings = NetfilterSettings(backend=request.param)
    with installed(pod_node_server, settings) as interception:
        yield interception


@pytest.fixture(params=BACKENDS)
def redirected(request: pytest.FixtureRequest, pod_node_server: Lab) -> Iterator[Interception]:
    """REDIRECT rules for the services on the node."""
    settings = NetfilterSettings(backend=request.param, mode="redirect")
    with installed(pod_node_server, settings) as interception:
        yield interception


@pytest.mark.parametrize("version", VERSIONS)
def test_a_forwarded_connection_reaches_the_listener_with_the_service_as_its_own_address(
    diverted: Interception, pod_node_server: Lab, version: int
) -> None:
    with Agent(pod_node_server.node) as agent:
        client = call(pod_node_server.pod, SERVICE[version])
        destination, source = agent.accept(version)
        assert destination == (SERVICE[version], PORT)
        assert source == client.getsockname()[:2]
        assert greeting(client) == b"agent"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_forwarded_datagram_tells_its_original_destination_and_is_answered_from_there(
    diverted: Interception, pod_node_server: Lab, version: int
) -> None:
    with Agent(pod_node_server.node) as agent:
        client = send(pod_node_server.pod, SERVICE[version])
        destination, source = agent.receive(version)
        assert destination == (SERVICE[version], PORT)
        assert source == client.getsockname()[:2]
        reply = pod_node_server.on_node(lambda: sockets.answering_socket(destination, 0x46))
        with closing(reply):
            reply.sendto(b"pong", source)
            assert greeting(client) == b"pong"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_nodes_own_connection_is_diverted_without_a_route_to_the_service(
    diverted: Interception, pod_node_server: Lab, version: int
) -> None:
    with Agent(pod_node_server.node) as agent:
        client = call(pod_node_server.node, SERVICE[version])
        destination, source = agent.accept(version)
        assert destination == (SERVICE[version], PORT)
        assert source[0] != SERVICE[version]
        assert greeting(client) == b"agent"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_nodes_own_datagram_is_diverted_and_answered(
    diverted: Interception, pod_node_server: Lab, version: int
) -> None:
    with Agent(pod_node_server.node) as agent:
        client = send(pod_node_server.node, SERVICE[version])
        destination, source = agent.receive(version)
        assert destination == (SERVICE[version], PORT)
        reply = pod_node_server.on_node(lambda: sockets.answering_socket(destination, 0x46))
        with closing(reply):
            reply.sendto(b"pong", source)
            assert greeting(client) == b"pong"


@pytest.mark.parametrize("version", VERSIONS)
def test_an_open_answering_socket_does_not_take_datagrams_from_the_listener(
    diverted: Interception, pod_node_server: Lab, version: int
) -> None:
    service = (SERVICE[version], PORT)
    reply = pod_node_server.on_node(lambda: sockets.answering_socket(service, 0x46))
    with Agent(pod_node_server.node) as agent, closing(reply):
        send(pod_node_server.pod, SERVICE[version]).close()
        assert agent.receive(version)[0] == service


@pytest.mark.parametrize("version", VERSIONS)
def test_a_datagram_of_full_size_arrives_whole(
    diverted: Interception, pod_node_server: Lab, version: int
) -> None:
    with Agent(pod_node_server.node) as agent:
        send(pod_node_server.pod, SERVICE[version], b"x" * 65000).close()
        payload, *_ = agent.udp[version].recvmsg(65536, 256)
        assert len(payload) == 65000


@pytest.mark.parametrize("version", VERSIONS)
def test_a_marked_socket_of_the_agent_is_not_led_back_to_it(
    diverted: Interception, pod_node_server: Lab, version: int
) -> None:
    service = ServiceAddress(SERVER[version], Transport.TCP, PORT)
    pod_node_server.on_node(lambda: diverted.update([service], ()))
    endpoint = listener(pod_node_server.server, SERVER[version], PORT)
    with closing(endpoint), Agent(pod_node_server.node) as agent:
        call(pod_node_server.node, SERVER[version], mark=0x46).close()
        endpoint.accept()[0].close()
        call(pod_node_server.node, SERVER[version]).close()
        assert agent.accept(version)[0] == (SERVER[version], PORT)


@pytest.mark.parametrize("version", VERSIONS)
def test_replies_to_a_borrowed_client_address_come_back_to_the_agent(
    diverted: Interception, pod_node_server: Lab, version: int
) -> None:
    def dial() -> socket.socket:
        destination = SERVER[version]
        sock = sockets.dialling_socket(destination, socket.SOCK_STREAM, 0x46, POD[version])
        sock.settimeout(PATIENCE_SECONDS)
        sock.connect((destination, PORT))
        return sock

    with closing(listener(pod_node_server.server, SERVER[version], PORT)) as endpoint:
        upstream = pod_node_server.on_node(dial)
        connection, client = endpoint.accept()
        with closing(connection):
            assert client[0] == POD[version]
            connection.sendall(b"endpoint")
            assert greeting(upstream) == b"endpoint"


@pytest.mark.parametrize("version", VERSIONS)
def test_datagrams_to_a_borrowed_client_address_come_back_to_the_agent(
    diverted: Interception, pod_node_server: Lab, version: int
) -> None:
    def dial() -> socket.socket:
        destination = SERVER[version]
        sock = sockets.dialling_socket(destination, socket.SOCK_DGRAM, 0x46, POD[version])
        sock.settimeout(PATIENCE_SECONDS)
        sock.connect((destination, PORT))
        sock.send(b"ping")
        return sock

    def serve() -> socket.socket:
        sock = socket.socket(sockets.family_of(SERVER[version]), socket.SOCK_DGRAM)
        sock.settimeout(PATIENCE_SECONDS)
        sock.bind((SERVER[version], PORT))
        return sock

    with closing(inside(pod_node_server.server, serve)) as endpoint:
        upstream = pod_node_server.on_node(dial)
        _, client = endpoint.recvfrom(64)
        assert client[0] == POD[version]
        endpoint.sendto(b"endpoint", client)
        assert greeting(upstream) == b"endpoint"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_node_port_is_diverted_on_the_nodes_addresses_from_anywhere(
    diverted: Interception, pod_node_server: Lab, version: int
) -> None:
    pod_node_server.on_node(lambda: diverted.update([NodePort(Transport.TCP, 30080)], ()))
    with Agent(pod_node_server.node) as agent:
        for caller in (pod_node_server.pod, pod_node_server.node):
            client = call(caller, NODE[version], 30080)
            assert agent.accept(version)[0] == (NODE[version], 30080)
            client.close()


@pytest.mark.parametrize("loopback", ["127.0.0.1", "::1"])
def test_a_node_port_is_left_alone_on_loopback(
    diverted: Interception, pod_node_server: Lab, loopback: str
) -> None:
    pod_node_server.on_node(lambda: diverted.update([NodePort(Transport.TCP, 30080)], ()))
    with (
        Agent(pod_node_server.node),
        closing(listener(pod_node_server.node, loopback, 30080)) as local,
    ):
        call(pod_node_server.node, loopback, 30080).close()
        local.accept()[0].close()


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_removed_is_no_longer_diverted_but_its_connections_go_on(
    diverted: Interception, pod_node_server: Lab, version: int
) -> None:
    with Agent(pod_node_server.node) as agent:
        client = call(pod_node_server.pod, SERVICE[version])
        connection, _ = agent.tcp[version].accept()
        pod_node_server.on_node(lambda: diverted.update((), SERVICES))
        with closing(connection):
            client.sendall(b"still here")
            connection.settimeout(PATIENCE_SECONDS)
            assert connection.recv(64) == b"still here"
            connection.sendall(b"agent")
            assert greeting(client) == b"agent"
        with pytest.raises(OSError, match=r"unreachable|No route"):
            call(pod_node_server.pod, SERVICE[version])


@pytest.mark.parametrize("caller", ["pod", "node"])
@pytest.mark.parametrize("version", VERSIONS)
def test_redirect_keeps_the_original_destination_of_a_connection(
    redirected: Interception, pod_node_server: Lab, version: int, caller: str
) -> None:
    with Agent(pod_node_server.node, transparent=False) as agent:
        client = call(getattr(pod_node_server, caller), SERVICE[version])
        assert agent.accept(version)[0] == (SERVICE[version], PORT)
        assert greeting(client) == b"agent"


@pytest.mark.parametrize("version", VERSIONS)
def test_redirect_lets_marked_sockets_of_the_agent_pass(
    redirected: Interception, pod_node_server: Lab, version: int
) -> None:
    service = ServiceAddress(SERVER[version], Transport.TCP, PORT)
    pod_node_server.on_node(lambda: redirected.update([service], ()))
    endpoint = listener(pod_node_server.server, SERVER[version], PORT)
    with closing(endpoint), Agent(pod_node_server.node, transparent=False):
        call(pod_node_server.node, SERVER[version], mark=0x46).close()
        endpoint.accept()[0].close()
