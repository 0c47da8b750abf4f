"""A plane that takes datagrams on loopback, and clients and endpoints that send them.

Datagrams have no getsockname() that could stand for a Service. So the plane is in redirect
mode, and what connection tracking would say about a client is what the test says.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import trio
from plane_fixtures import PATIENCE_SECONDS, World, running

from edgemesh.kernel.sockets import Address
from edgemesh.model.policies import DEFAULT_POLICY, Policy
from edgemesh.model.services import Endpoint, ServicePort, Snapshot, Transport

SERVICE = ("10.96.0.10", 53)
OTHER_SERVICE = ("10.96.0.11", 53)
SERVICE6 = ("fd00:96::10", 53)
# Loopback addresses that tests call, and the Services that calls of them were redirected from.
CALLED = {"127.0.0.1": SERVICE, "127.0.0.2": OTHER_SERVICE, "::1": SERVICE6}

_NAMES = {SERVICE: "dns", OTHER_SERVICE: "other", SERVICE6: "dns6"}


class Speaker:
    """A socket that sends and receives datagrams, in the hands of a test."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.sock = sock

    @property
    def endpoint(self) -> Endpoint:
        name = self.sock.getsockname()
        return Endpoint(name[0], name[1])

    async def send(self, data: bytes, to: Address) -> None:
        await self.sock.sendto(data, to)

    async def receive(self) -> tuple[bytes, Address]:
        with trio.fail_after(PATIENCE_SECONDS):
            data, sender = await self.sock.recvfrom(65536)
        return data, (sender[0], sender[1])


class Datagrams:
    """The plane, and how its listener is called."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.port = world.plane.settings.udp_port

    def service(
        self, *endpoints: Endpoint, at: Address = SERVICE, policy: Policy = DEFAULT_POLICY
    ) -> None:
        name = _NAMES[at]
        port = ServicePort(
            "default", name, "", Transport.UDP, 53, policy=policy, endpoints=endpoints
        )
        snapshot = self.world.plane.decider.snapshot
        self.world.plane.swap(
            replace(
                snapshot,
                udp={**snapshot.udp, at: port},
                ports={**snapshot.ports, port.key: port},
            )
        )

    def without_services(self) -> None:
        self.world.plane.swap(Snapshot())

    async def speaker(self, address: str = "127.0.0.1", port: int = 0) -> Speaker:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = trio.socket.socket(family, socket.SOCK_DGRAM)
        self.world.opened.callback(sock.close)
        # Room for the largest datagrams, a few at a time.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        await sock.bind((address, port))
        return Speaker(sock)

    async def ask(
        self, client: Speaker, server: Speaker, words: bytes = b"?", at: str = "127.0.0.1"
    ) -> Address:
        """One datagram there and one back; returns who the server saw."""
        await client.send(words, (at, self.port))
        heard, caller = await server.receive()
        assert heard == words
        await server.send(words[::-1], caller)
        assert await client.receive() == (words[::-1], (at, self.port))
        return caller


@asynccontextmanager
async def running_datagrams(**settings: object) -> AsyncIterator[Datagrams]:
    def original(_client: Address, local: Address) -> Address | None:
        return CALLED.get(local[0])

    async with running(original, **settings) as world:
        yield Datagrams(world)
