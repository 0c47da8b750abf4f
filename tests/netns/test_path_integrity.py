"""Whatever moves a flow's bytes, and however often that changes: none is lost, doubled or moved."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
from gate_fixtures import open_gate
from interception_lab import Lab, inside, installed
from mover_rules import Always, AtRandom
from path_talks import Couple, Place, Talk, places, summed_up, targets
from plane_fixtures import World, running

from edgemesh.kernel.bpf.gate_maps import Gate
from edgemesh.model.flows import Mover
from edgemesh.model.settings import NetfilterSettings
from edgemesh.proxy.context import PromotionRule
from edgemesh.proxy.forward.sockmap import Sockmap

pytestmark = pytest.mark.root

COUPLES = 3
MEBIBYTE = 1 << 20
TALKS = 40
MOVERS = tuple(Mover)
MIXES = {
    "relay and splice": {Mover.RELAY, Mover.SPLICE},
    "relay and sockmap": {Mover.RELAY, Mover.SOCKMAP},
    "all": set(Mover),
}


async def talk_in_turn(
    lab: Lab, world: World, place: Place, numbers: Iterator[int], largest: int
) -> list[Talk]:
    """One couple's share of the plans."""
    talks = []
    async with Couple.at(place, lab, world) as couple:
        for number in numbers:
            talk = await couple.talk(number, largest)
            talk.assert_whole()
            talks.append(talk)
    return talks


@asynccontextmanager
async def using(world: World, gate: Gate) -> AsyncIterator[None]:
    """Let the kernel move flows, and have it let go of them now and then."""
    sockmap = Sockmap(world.plane, gate)
    sockmap.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call_back_at_random, world, sockmap)
        yield
        nursery.cancel_scope.cancel()
    sockmap.stop()


async def call_back_at_random(world: World, sockmap: Sockmap) -> None:
    """Nothing of what the kernel moves is noted, so a rule would have no occasion."""
    chance = random.Random(3)
    while True:
        await trio.sleep(chance.uniform(0.001, 0.02))
        stays = [member.stay for member in sockmap.members.values() if member.stay is not None]
        if stays:
            stay = chance.choice(stays)
            world.plane.reactor.call(stay, stay.leave)


def talked(lab: Lab, rule: PromotionRule, numbers: range, largest: int) -> list[Talk]:
    """Carry out plans, several at a time."""
    talks: list[Talk] = []

    async def play(gate: Gate) -> None:
        waiting = iter(numbers)
        async with (
            running(rule=rule, tcp_port=15001, udp_port=15002) as world,
            using(world, gate),
            trio.open_nursery() as nursery,
        ):

            async def couple_at(place: Place) -> None:
                talks.extend(await talk_in_turn(lab, world, place, waiting, largest))

            for place in places(COUPLES):
                nursery.start_soon(couple_at, place)

    with installed(lab, NetfilterSettings(), targets(COUPLES)), open_gate() as gate:
        inside(lab.node, lambda: trio.run(play, gate))
    print(summed_up(talks))
    return talks


def assert_moved_by(mover: Mover, talks: list[Talk]) -> None:
    """Many flows were: the shortest are over before, and the gate keeps others from splicing."""
    assert sum(mover in talk.report.movers for talk in talks) > len(talks) / 4


@pytest.mark.parametrize("mover", MOVERS)
def test_whatever_is_said_arrives(pod_node_server: Lab, mover: Mover) -> None:
    talks = talked(pod_node_server, Always(mover), range(TALKS), 64 * MEBIBYTE)
    assert_moved_by(mover, talks)


@pytest.mark.parametrize("movers", MIXES.values(), ids=MIXES)
def test_whatever_is_said_arrives_while_flows_change_hands(
    pod_node_server: Lab, movers: set[Mover]
) -> None:
    rule = AtRandom(1, movers)
    talks = talked(pod_node_server, rule, range(TALKS), 64 * MEBIBYTE)
    for mover in movers:
        assert_moved_by(mover, talks)
    assert rule.switches > 10 * TALKS


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mover", MOVERS)
def test_gibibytes_arrive_too(pod_node_server: Lab, mover: Mover) -> None:
    talks = talked(pod_node_server, Always(mover), range(100), 1024 * MEBIBYTE)
    assert_moved_by(mover, talks)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("movers", MIXES.values(), ids=MIXES)
def test_gibibytes_arrive_too_while_flows_change_hands(
    pod_node_server: Lab, movers: set[Mover]
) -> None:
    talks = talked(pod_node_server, AtRandom(2, movers), range(100, 200), 1024 * MEBIBYTE)
    for mover in movers:
        assert_moved_by(mover, talks)
