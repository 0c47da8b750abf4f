"""Receivers that never read: what is kept for them is bounded, and arrives when they read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
from gate_fixtures import gated, open_gate
from interception_lab import PORT, Lab, inside, installed
from mover_rules import Always
from path_crowds import crowds
from path_talks import places, targets
from plane_fixtures import World, running

from edgemesh.lab.network import set_sysctl
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.flows import Mover
from edgemesh.model.services import Endpoint
from edgemesh.model.settings import NetfilterSettings, ProxySettings

pytestmark = pytest.mark.root

FLOWS = 200
PLACE = places(2)[1]
PAGE = 4096
# What a direction of a flow may have in edgemesh's hands, by who moves it.
KEPT = {
    Mover.RELAY: ProxySettings().relay_buffer_bytes,
    Mover.SPLICE: ProxySettings().splice_bytes,
    # Held by the kernel, in a send buffer that was raised to take it, and what the relay has read.
    Mover.SOCKMAP: 4 * BpfSettings().backlog_bytes + ProxySettings().relay_buffer_bytes,
}
# What the kernel may keep of a connection on each side, so that what edgemesh keeps shows.
NODE_BUFFER = 262_144
PEER_BUFFER = 2 * 65_536
# A buffer that is not full takes one more packet, whatever its size (tcp_sendmsg, tcp_rcv).
OVERSHOOT = 4 * 65_536
# Of an skb, which is counted with its overhead.
MEMORY_PER_BYTE = 2.5


class Kept(NamedTuple):
    """Memory of the whole machine: other tests may take some meanwhile."""

    available: int
    sockets: int

    @classmethod
    def now(cls) -> Kept:
        return cls(
            _number("/proc/meminfo", "MemAvailable:", "MemAvailable:") * 1024,
            _number("/proc/net/sockstat", "TCP:", "mem") * PAGE,
        )


def _number(file: str, line: str, name: str) -> int:
    (words,) = [one.split() for one in Path(file).read_text().splitlines() if one.startswith(line)]
    return int(words[words.index(name) + 1])


@asynccontextmanager
async def plane_of(mover: Mover) -> AsyncIterator[tuple[World, Callable[[], bool]]]:
    """A plane whose flows are all moved by this one, and whether they are already.

    The relay keeps what finds its receiver full at once, so each has to have begun with little.
    """
    ports = {"tcp_port": 15001, "udp_port": 15002}
    if mover is Mover.SOCKMAP:
        with open_gate() as gate:
            async with gated(gate, **ports) as plane:
                yield plane.world, lambda: len(plane.inside()) == FLOWS
    else:
        async with running(rule=Always(mover), **ports) as world:
            yield world, lambda: True


@pytest.mark.parametrize("upwards", [True, False], ids=["endpoints", "clients"])
@pytest.mark.parametrize("mover", KEPT)
def test_what_is_kept_for_who_never_reads_is_bounded_and_arrives_in_the_end(
    pod_node_server: Lab, mover: Mover, *, upwards: bool
) -> None:
    lab = pod_node_server
    for name in ("tcp_rmem", "tcp_wmem"):
        set_sysctl(lab.node, f"net.ipv4.{name}", f"4096 16384 {NODE_BUFFER}")
    bound = KEPT[mover] + 2 * NODE_BUFFER + 2 * PEER_BUFFER + OVERSHOOT

    async def play() -> None:
        async with plane_of(mover) as (world, all_are_moved):
            world.service_at((PLACE.service, PORT), Endpoint(*PLACE.endpoint))
            async with crowds(lab, PLACE, FLOWS) as both:
                await both.meet()
                talkers, _ = both.sides(upwards=upwards)
                await talkers.ask("greet")
                await world.until(all_are_moved)
                before = Kept.now()
                said = await talkers.ask("fill")
                after = Kept.now()
                assert max(said) < bound
                assert before.available - after.available < FLOWS * bound * MEMORY_PER_BYTE
                assert after.sockets - before.sockets < FLOWS * bound * MEMORY_PER_BYTE
                await both.finish(upwards=upwards)
            await world.until(lambda: len(world.reports) == FLOWS)
            assert all(mover in report.movers for report in world.reports)

    with installed(lab, NetfilterSettings(), targets(2)):
        inside(lab.node, lambda: trio.run(play))
