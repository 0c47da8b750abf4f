"""Whatever carries a flow, and however often that changes: no byte is lost, doubled or moved."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio
from interception_lab import Lab, inside, installed
from path_talks import Couple, Place, Talk, places, targets
from plane_fixtures import World, running

from edgemesh.model.settings import NetfilterSettings

pytestmark = pytest.mark.root

COUPLES = 3
MEBIBYTE = 1 << 20


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


def talked(lab: Lab, numbers: range, largest: int) -> list[Talk]:
    """Carry out plans, several at a time."""
    talks: list[Talk] = []

    async def play() -> None:
        waiting = iter(numbers)
        async with running(tcp_port=15001, udp_port=15002) as world, trio.open_nursery() as nursery:

            async def couple_at(place: Place) -> None:
                talks.extend(await talk_in_turn(lab, world, place, waiting, largest))

            for place in places(COUPLES):
                nursery.start_soon(couple_at, place)

    with installed(lab, NetfilterSettings(), targets(COUPLES)):
        inside(lab.node, lambda: trio.run(play))
    return talks


def test_whatever_is_said_arrives(pod_node_server: Lab) -> None:
    assert len(talked(pod_node_server, range(100), 64 * MEBIBYTE)) == 100


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_gibibytes_arrive_too(pod_node_server: Lab) -> None:
    assert len(talked(pod_node_server, range(100, 200), 1024 * MEBIBYTE)) == 100
