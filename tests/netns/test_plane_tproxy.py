"""A data plane on a node between a pod and a server, with the real rules in front of it."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from interception_lab import PORT, SERVER, SERVICE, SERVICES, Lab, call, inside
from plane_fixtures import PATIENCE_SECONDS, World, running

from edgemesh.kernel.netfilter import open_interception
from edgemesh.kernel.sockets import Address, family_of
from edgemesh.model.services import Endpoint, ServicePort, Snapshot, Source, Transport
from edgemesh.model.settings import NetfilterSettings, ProxySettings

pytestmark = pytest.mark.root

VERSIONS = pytest.mark.parametrize("version", [4, 6])
POD = {4: "10.1.0.2", 6: "fd01::2"}
ENDPOINT_PORT = 7001
LARGEST = 65507
IDLE = 30.0


@pytest.fixture
def lab(pod_node_server: Lab) -> Iterator[Lab]:
    interception = pod_node_server.on_node(
        lambda: open_interception(NetfilterSettings(), ProxySettings(), owned=True)
    )
    pod_node_server.on_node(interception.install)
    pod_node_server.on_node(lambda: interception.update(SERVICES, ()))
    yield pod_node_server
    pod_node_server.on_node(interception.close)


class Scene:
    """A plane on the node, endpoints on the server, clients in the pod."""

    def __init__(self, lab: Lab, world: World) -> None:
        self.lab = lab
        self.world = world
        self.source = Source.NODE

    def serve(self, version: int, ports: int = 1) -> list[trio.socket.SocketType]:
        servers = [
            self.socket(self.lab.server, SERVER[version], ENDPOINT_PORT + number)
            for number in range(ports)
        ]
        endpoints = tuple(Endpoint(*server.getsockname()[:2]) for server in servers)
        port = ServicePort(
            "default", "web", "", Transport.UDP, PORT, source=self.source, endpoints=endpoints
        )
        called = (SERVICE[version], PORT)
        self.world.plane.swap(
            Snapshot(udp={called: port}, tcp={called: replace(port, transport=Transport.TCP)})
        )
        return servers

    def client(self, version: int) -> trio.socket.SocketType:
        sock = self.socket(self.lab.pod, POD[version], 0)
        # Connected: it gets no answer but from the address that it called.
        socket.socket.connect(sock._sock, (SERVICE[version], PORT))
        return sock

    def socket(self, namespace: str, address: str, port: int) -> trio.socket.SocketType:
        def bind() -> socket.socket:
            sock = socket.socket(family_of(address), socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            sock.bind((address, port))
            return sock

        sock = trio.socket.from_stdlib_socket(inside(namespace, bind))
        self.world.opened.callback(sock.close)
        return sock


def on_node(lab: Lab, play: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        async with scene(lab) as made:
            await play(made)

    inside(lab.node, lambda: trio.run(run))


@asynccontextmanager
async def scene(lab: Lab):
    async with running(tcp_port=15001, udp_port=15002) as world:
        # The checkpoints are in the block that this is opened around.
        with trio.fail_after(PATIENCE_SECONDS):  # noqa: ASYNC100
            yield Scene(lab, world)


async def ask(
    client: trio.socket.SocketType, server: trio.socket.SocketType, words: bytes = b"?!"
) -> Address:
    """One datagram there and one back; returns who the server saw."""
    await client.send(words)
    heard, caller = await server.recvfrom(65536)
    assert heard == words
    await server.sendto(words[::-1], caller)
    assert await client.recv(65536) == words[::-1]
    return caller[0], caller[1]


@VERSIONS
def test_a_pods_datagrams_are_answered_from_the_service_again_and_again(
    lab: Lab, version: int
) -> None:
    async def play(scene: Scene) -> None:
        (server,) = scene.serve(version)
        client = scene.client(version)
        callers = {await ask(client, server) for _ in range(3)}
        # One session, so the answering socket did not swallow what the client sent next.
        assert len(callers) == 1
        await ask(client, server, bytes(LARGEST))
        scene.world.skip(IDLE)
        report = await scene.world.report()
        assert report.bytes_sent == report.bytes_received == LARGEST + 6

    on_node(lab, play)


def bound_to(port: int) -> int:
    """How many UDP sockets of this namespace are bound to a port."""
    tables = ("/proc/thread-self/net/udp", "/proc/thread-self/net/udp6")
    rows = [row for table in tables for row in Path(table).read_text().splitlines()[1:]]
    return sum(row.split()[1].endswith(f":{port:04X}") for row in rows)


@VERSIONS
def test_sessions_of_one_service_share_a_socket_that_goes_with_the_last_of_them(
    lab: Lab, version: int
) -> None:
    async def play(scene: Scene) -> None:
        (server,) = scene.serve(version)
        clients = [scene.client(version) for _ in range(3)]
        for client in clients:
            await ask(client, server)
        assert (scene.world.plane.open_flows, bound_to(PORT)) == (3, 1)
        scene.world.skip(IDLE / 2)
        await ask(clients[0], server)
        scene.world.skip(IDLE / 2)
        await scene.world.report(2)
        assert (scene.world.plane.open_flows, bound_to(PORT)) == (1, 1)
        await ask(clients[0], server)
        scene.world.skip(IDLE)
        await scene.world.report(3)
        assert bound_to(PORT) == 0

    on_node(lab, play)


@VERSIONS
def test_who_cannot_be_answered_has_a_report_that_says_why_and_no_session(
    lab: Lab, version: int
) -> None:
    async def play(scene: Scene) -> None:
        (server,) = scene.serve(version)
        client = scene.client(version)
        # Somebody on the node holds the port on all addresses, as a resolver might hold 53.
        everywhere = "0.0.0.0" if version == 4 else "::"
        holder = scene.socket(lab.node, everywhere, PORT)
        await client.send(b"?")
        report = await scene.world.report()
        called = f"{SERVICE[4]}:{PORT}" if version == 4 else f"[{SERVICE[6]}]:{PORT}"
        assert report.ending == "error"
        assert report.reason == f"cannot answer from {called}: Address already in use"
        assert scene.world.plane.open_flows == 0
        holder.close()
        await ask(client, server)

    on_node(lab, play)


@VERSIONS
def test_after_an_icmp_refusal_the_next_endpoint_gets_the_next_datagram(
    lab: Lab, version: int
) -> None:
    async def play(scene: Scene) -> None:
        dead, server = scene.serve(version, ports=2)
        dead.close()
        client = scene.client(version)
        await client.send(b"lost")
        await scene.world.until(lambda: len(scene.world.plane.sessions) == 1)
        (session,) = scene.world.plane.sessions.values()
        await scene.world.until(lambda: session._attempts == 2)
        await ask(client, server)

    on_node(lab, play)


@VERSIONS
def test_a_preserved_source_shows_the_endpoint_the_pods_address(lab: Lab, version: int) -> None:
    async def play(scene: Scene) -> None:
        scene.source = Source.PRESERVE
        (server,) = scene.serve(version)
        caller = await ask(scene.client(version), server)
        assert caller[0] == POD[version]
        # TCP likewise, and the way back leads through the node's socket.
        listener = inside(lab.server, lambda: tcp_listener(SERVER[version]))
        scene.world.opened.callback(listener.close)
        # Connected when the node's kernel says so; the plane has its turn later.
        client = call(lab.pod, SERVICE[version])
        scene.world.opened.callback(client.close)
        endpoint, peer = await listener.accept()
        scene.world.opened.callback(endpoint.close)
        assert peer[0] == POD[version]
        client.sendall(b"question")
        assert await endpoint.recv(100) == b"question"

    on_node(lab, play)


def tcp_listener(address: str) -> trio.socket.SocketType:
    sock = socket.socket(family_of(address), socket.SOCK_STREAM)
    sock.bind((address, ENDPOINT_PORT))
    sock.listen()
    return trio.socket.from_stdlib_socket(sock)


def test_draining_lets_the_port_go_so_that_the_fail_mode_decides(lab: Lab) -> None:
    async def play(scene: Scene) -> None:
        (server,) = scene.serve(4)
        client = scene.client(4)
        await ask(client, server)
        assert bound_to(15002) == 2
        await scene.world.plane.drain(1)
        assert bound_to(15002) == 0

    on_node(lab, play)
