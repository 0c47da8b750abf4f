"""Receivers that never read: what is kept for them is bounded, and arrives when they read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
from interception_lab import PORT, Lab, inside, installed
from path_switching import Always
from path_talks import Peer, places, targets
from plane_fixtures import World, running

from edgemesh.lab.network import set_sysctl
from edgemesh.model.flows import Mover
from edgemesh.model.services import Endpoint
from edgemesh.model.settings import NetfilterSettings, ProxySettings

pytestmark = pytest.mark.root

FLOWS = 200
PLACE = places(2)[1]
CROWD = Path(__file__).with_name("path_crowd.py")
PAGE = 4096
# What a direction of a flow may have in edgemesh's hands, by who moves it.
KEPT = {
    Mover.RELAY: ProxySettings().relay_buffer_bytes,
    Mover.SPLICE: ProxySettings().splice_bytes,
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
async def crowds(lab: Lab, world: World) -> AsyncIterator[tuple[Peer, Peer]]:
    """Clients and endpoints, connected with each other."""
    service, address = PLACE
    async with (
        Peer.started(lab.server, CROWD, "endpoint", *address, FLOWS) as endpoints,
        Peer.started(lab.pod, CROWD, "client", service, PORT, FLOWS) as clients,
    ):
        assert await endpoints.hear() == b"ready\n"
        assert await clients.hear() == b"ready\n"
        world.service_at((service, PORT), Endpoint(*address))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clients.ask, "open")
            await endpoints.ask("open")
        yield clients, endpoints


async def go_on(talkers: Peer, hearers: Peer) -> None:
    """Let those who did not read read; everything arrives."""
    heard: list[object] = []

    async def hear() -> None:
        heard.extend(await hearers.ask("hear"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hear)
        said = await talkers.ask("finish")
    assert heard == said


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
        async with running(tcp_port=15001, udp_port=15002) as world:
            world.plane.promotion = Always(mover)
            async with crowds(lab, world) as sides:
                talkers, hearers = sides if upwards else sides[::-1]
                before = Kept.now()
                said = await talkers.ask("fill")
                after = Kept.now()
                assert max(said) < bound
                assert before.available - after.available < FLOWS * bound * MEMORY_PER_BYTE
                assert after.sockets - before.sockets < FLOWS * bound * MEMORY_PER_BYTE
                await go_on(talkers, hearers)
            await world.until(lambda: len(world.reports) == FLOWS)
            assert all(mover in report.movers for report in world.reports)

    with installed(lab, NetfilterSettings(), targets(2)):
        inside(lab.node, lambda: trio.run(play))
