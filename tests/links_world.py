"""Nodes, clouds and their links in one reactor."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from link_fixtures import Clock, Pki, Talker, a_reactor, shared_of, until

from edgemesh.bus.link.link import Link
from edgemesh.bus.link.links import Links
from edgemesh.bus.link.listener import LinkListener
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.model.peers import Way
from edgemesh.model.services import Transport
from edgemesh.model.streams import CLOUD, InboundStream, StreamRequest
from edgemesh.reactor.reactor import Reactor
from edgemesh.reactor.virtual import VirtualSocket

Address = tuple[str, int]


class Node:
    """One end: its links, its listener, and the streams that came."""

    def __init__(self, world: World, name: str, **of: object) -> None:
        self.world = world
        self.name = name
        self.revoked: set[bytes] = set()
        self.shared = shared_of(name, world.reactor, world.pki.tls(name), self._check, **of)
        self.links = Links(self.shared, self._elsewhere)
        self.links.take_services(self._enter)
        self.came: list[tuple[VirtualSocket, InboundStream]] = []
        self.talkers: list[Talker] = []
        self.answer_size = 1000
        self.takes = self.talks = True
        self._sock = socket.create_server(("127.0.0.1", 0))
        self._sock.setblocking(False)
        self.address: Address = self._sock.getsockname()
        self._listener = LinkListener(world.reactor, self._sock, self.links.take)
        self.listen()
        self.links.start()

    def listen(self) -> None:
        self.world.reactor.call(self._listener, self._listener.start)

    def deaf(self) -> None:
        """Connections are not answered any more: the kernel takes them, nobody else."""
        self.world.reactor.call(self._listener, self._listener.stop)

    def close(self) -> None:
        self.deaf()
        self._sock.close()
        self.links.close()

    def call(self, node: str, transport: Transport = Transport.TCP) -> VirtualSocket | None:
        request = StreamRequest(
            node, ("default", "web", transport, 80), "", ("10.244.1.5", 4000), "", transport
        )
        made: list[VirtualSocket | None] = []
        self.world.reactor.call(self.links, lambda: made.append(self.links.connect(request)))
        return made[0]

    def talk(self, node: str, size: int = 1000) -> Talker:
        sock = self.call(node)
        assert sock is not None
        return Talker(sock, self.world.reactor, size, 1)

    def links_to(self, node: str) -> list[Link]:
        """All there are; a node that none of the mesh knows is forgotten behind its last one."""
        peer = self.links._peers.get(node)
        return [] if peer is None else peer.links()

    def way(self, node: str) -> Way:
        return next(peer.route for peer in self.links.peers() if peer.node == node)

    def problem(self, node: str) -> str:
        return next(peer.problem for peer in self.links.peers() if peer.node == node)

    def _elsewhere(self) -> list[tuple[str, Address]]:
        replicas = self.world.replicas if self in self.world.replicas else []
        return [("127.0.0.1", each.address) for each in replicas if each is not self]

    def _check(self, der: bytes) -> None:
        if der in self.revoked:
            raise CertificateProblem("revoked")

    def _enter(self, sock: VirtualSocket, wanted: InboundStream) -> None:
        self.came.append((sock, wanted))
        if not self.takes:
            sock.refuse(errno.EACCES, "no such Service here")
            return
        sock.accept()
        if self.talks:
            self.talkers.append(Talker(sock, self.world.reactor, self.answer_size, 2))


class World:
    def __init__(self, reactor: Reactor, pki: Pki, clock: Clock) -> None:
        self.reactor = reactor
        self.pki = pki
        self.clock = clock
        # Other replicas of the cloud, for those that are replicas themselves.
        self.replicas: list[Node] = []
        self.nodes: list[Node] = []

    def node(self, name: str, **of: object) -> Node:
        node = Node(self, name, **of)
        self.nodes.append(node)
        return node

    def with_cloud(self, *nodes: Node, **of: object) -> Node:
        cloud = self.node(CLOUD, **of)
        for node in nodes:
            node.links.know_cloud("127.0.0.1", [cloud.address])
        return cloud


@asynccontextmanager
async def a_world(pki: Pki) -> AsyncIterator[World]:
    clock = Clock()
    async with a_reactor(clock) as reactor:
        world = World(reactor, pki, clock)
        try:
            yield world
        finally:
            for node in world.nodes:
                node.close()
        await until(lambda: len(reactor) == 0)


async def exchanged(asking: Talker, node: Node) -> None:
    """The call went to ``node``, and all was heard on both sides."""
    await until(lambda: asking.done and node.talkers and node.talkers[-1].done)
    answering = node.talkers[-1]
    assert (asking.problem, answering.problem) == (0, 0)
    assert asking.said == answering.heard
    assert answering.said == asking.heard
