"""A gate, and data planes whose flows go through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

from bpf_samples import bpf_place, only
from plane_fixtures import World, running

from edgemesh.kernel.bpf.gate_maps import Gate
from edgemesh.kernel.bpf.loader import load
from edgemesh.kernel.bpf.programs import GATE
from edgemesh.model.flows import Mover
from edgemesh.policy.promotion import Behaviour
from edgemesh.proxy.forward.sockmap import Sockmap


@contextmanager
def open_gate(**settings: int) -> Iterator[Gate]:
    """A gate of the test's own."""
    with bpf_place() as place:
        chosen = replace(place, **settings)
        loaded = load(chosen, owner="operator", loading=only(GATE))
        assert loaded.groups["gate"] == ""
        with Gate(loaded.map, chosen.backlog_bytes) as gate:
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

    def inside(self) -> int:
        """How many flows the kernel moves now."""
        return sum(member.stay is not None for member in self.sockmap.members.values())

    def all_leave(self) -> None:
        """Have the relay go on with all flows."""
        for member in list(self.sockmap.members.values()):
            if member.stay is not None:
                self.world.plane.reactor.call(member.stay, member.stay.leave)


@asynccontextmanager
async def gated(gate: Gate, **settings: Any) -> AsyncIterator[Gated]:
    """A plane that serves, and gives flows to the gate at once."""
    async with running(promotion=AtOnce(), **settings) as world:
        sockmap = Sockmap(world.plane, gate)
        sockmap.start()
        try:
            yield Gated(world, sockmap)
        finally:
            sockmap.stop()
