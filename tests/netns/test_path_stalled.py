"""Receivers that never read: what is kept for them is bounded, and arrives when they read."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
from gate_fixtures import gated, open_gate
from interception_lab import PORT, Lab, inside, installed, output
from mover_rules import Always
from path_crowds import Crowds, crowds
from path_talks import Place, places, targets
from plane_fixtures import World, running

from edgemesh.model.flows import Mover
from edgemesh.model.services import Endpoint
from edgemesh.model.settings import NetfilterSettings, ProxySettings

pytestmark = pytest.mark.root

FLOWS = 200
PLACE = places(2)[1]
# Without an agent: the endpoint itself is called.
DIRECT = Place(PLACE.endpoint[0], (PLACE.endpoint[0], PORT))
PAGE = 4096
LIMIT = ProxySettings().flow_kernel_bytes
# What a direction of a flow may have beside what our sockets' buffers have, by who moves it.
KEPT = {
    Mover.RELAY: ProxySettings().relay_buffer_bytes,
    Mover.SPLICE: ProxySettings().splice_bytes,
    # What the relay has read: it goes on with flows of which too much is under way.
    Mover.SOCKMAP: ProxySettings().relay_buffer_bytes,
}
# Of the whole machine: others take memory meanwhile, and a page in a pipe may be a part of more.
OF_ALL = 2.5


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


def kept_by_sockets_of(namespace: str) -> int:
    """What the buffers of all its connections hold, overhead included."""
    shown = output(namespace, ["ss", "-tnmHO"])
    buffers = re.findall(r"skmem:\(r(\d+),.*?,w(\d+)", shown)
    return sum(int(received) + int(unsent) for received, unsent in buffers)


async def met(both: Crowds, *, upwards: bool) -> None:
    """Connect, and let little pass on each connection: that is what the relay begins with."""
    await both.meet()
    talkers, hearers = both.sides(upwards=upwards)
    assert await talkers.ask("greet") == await hearers.ask("greeted")


async def filled(both: Crowds, *, upwards: bool) -> tuple[int, Kept]:
    """Say until nothing more is taken: what most was said on a connection, and what is kept."""
    talkers, _ = both.sides(upwards=upwards)
    before = Kept.now()
    said = await talkers.ask("fill")
    after = Kept.now()
    return max(said), Kept(before.available - after.available, after.sockets - before.sockets)


@pytest.mark.parametrize("upwards", [True, False], ids=["endpoints", "clients"])
@pytest.mark.parametrize("mover", KEPT)
def test_what_is_kept_for_who_never_reads_is_bounded_and_arrives_in_the_end(
    pod_node_server: Lab, mover: Mover, *, upwards: bool
) -> None:
    lab = pod_node_server

    async def play() -> None:
        async with crowds(lab, DIRECT, FLOWS) as both:
            await met(both, upwards=upwards)
            said_directly, directly = await filled(both, upwards=upwards)
            await both.finish(upwards=upwards)
        async with plane_of(mover) as (world, all_are_moved):
            world.service_at((PLACE.service, PORT), Endpoint(*PLACE.endpoint))
            async with crowds(lab, PLACE, FLOWS) as both:
                await met(both, upwards=upwards)
                await world.until(all_are_moved)
                said, kept = await filled(both, upwards=upwards)
                assert said - said_directly < LIMIT + KEPT[mover]
                assert kept_by_sockets_of(lab.node) < FLOWS * LIMIT
                assert kept.sockets - directly.sockets < FLOWS * LIMIT * OF_ALL
                most = FLOWS * (LIMIT + KEPT[mover]) * OF_ALL
                assert kept.available - directly.available < most
                await both.finish(upwards=upwards)
            await world.until(lambda: len(world.reports) == FLOWS)
            assert all(mover in report.movers for report in world.reports)

    with installed(lab, NetfilterSettings(), targets(2)):
        inside(lab.node, lambda: trio.run(play))
