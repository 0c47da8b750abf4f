"""A gate, and data planes whose flows go through it."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import trio
from bpf_samples import bpf_place, only
from plane_fixtures import Peer, World, running

from edgemesh.kernel.bpf.gate_maps import Gate
from edgemesh.kernel.bpf.loader import load
from edgemesh.kernel.bpf.programs import GATE
from edgemesh.model.flows import Mover
from edgemesh.policy.promotion import Behaviour
from edgemesh.proxy.forward.gate_member import Member
from edgemesh.proxy.forward.sockmap import Sockmap


@contextmanager
def open_gate(**settings: Any) -> Iterator[Gate]:
    """A gate of the test's own; ``settings`` are of BpfSettings."""
    with bpf_place() as place:
        chosen = replace(place, **settings)
        loaded = load(chosen, owner="operator", loading=only(GATE))
        assert loaded.groups["gate"] == ""
        with Gate(loaded.map, chosen.backlog_bytes) as gate:
            assert gate.words  # A descriptor that is open from the first flow on.
            yield gate


class AtOnce:
    """Gives flows to the gate as soon as something has passed."""

    def decide(self, _behaviour: Behaviour, mover: Mover, suitable: AbstractSet[Mover]) -> Mover:
        return Mover.SOCKMAP if Mover.SOCKMAP in suitable else mover

    def notice_from(self, *_: object) -> int:
        return 0


class Gated:
    """A plane with a gate.

    Attributes:
        world: the plane and what is around it.
        sockmap: its mover.
    """

    def __init__(self, world: World, sockmap: Sockmap) -> None:
        self.world = world
        self.sockmap = sockmap

    def inside(self) -> list[Member]:
        """The flows that the kernel moves now."""
        return [member for member in self.sockmap.members.values() if member.stay is not None]

    def leave(self, members: list[Member]) -> None:
        """Have the relay go on with them."""
        for member in members:
            if member.stay is not None:
                self.world.plane.reactor.call(member.stay, member.stay.leave)

    async def connected(self, receive: int = 0) -> tuple[Peer, Peer]:
        """A client and its endpoint, whose flow is in the gate."""
        client, endpoint = await self.world.connected(receive)
        await client.send(b"?")
        assert await endpoint.receive(1) == b"?"
        await endpoint.send(b"!")
        assert await client.receive(1) == b"!"
        await self.world.until(self.inside)
        return client, endpoint


@asynccontextmanager
async def gated(gate: Gate, **settings: Any) -> AsyncIterator[Gated]:
    """A plane that serves, and gives flows to the gate at once."""
    async with running(rule=AtOnce(), **settings) as world:
        sockmap = Sockmap(world.plane, gate)
        sockmap.start()
        try:
            yield Gated(world, sockmap)
        finally:
            sockmap.stop()


async def send_until_stuck(peer: Peer, piece: bytes, most: int) -> int:
    """Send the same again and again until nothing has been taken for a while; how many bytes.

    Whoever is stopped by a window is stopped for good while nobody reads; ``most`` ends it for
    those that are not stopped.
    """
    sent = 0
    while sent < most:
        sent += peer.send_what_fits(piece * 64)
        writable = await trio.to_thread.run_sync(_is_writable, peer.raw)
        if not writable:
            break
    return sent


def acknowledged(sock: socket.socket) -> int:
    """Bytes that a peer has acknowledged: tcpi_bytes_acked."""
    (count,) = struct.unpack_from(
        "=Q", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128), 120
    )
    return int(count)


def _is_writable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    return bool(poll.poll(300))
