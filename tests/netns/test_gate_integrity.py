"""However often flows overflow, no byte is lost, doubled or moved."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import trio
from gate_fixtures import Gated, gated, open_gate
from interception_lab import Lab, inside, installed, nft
from path_talks import Couple, Place, Talk, places, summed_up, targets

from edgemesh.kernel.bpf.gate_maps import Gate
from edgemesh.model.flows import Mover
from edgemesh.model.settings import NetfilterSettings

pytestmark = pytest.mark.root

COUPLES = 3
MEBIBYTE = 1 << 20
# No more than some packets.
BACKLOG_BYTES = 32768
# A reset is sent once, and so is the question whether it is meant (RFC 5961 section 3), which is an
# acknowledgement without bytes, of 100 at the most: whoever does not get one of them waits.
LOSSY = """
table inet lossy {
    chain in {
        type filter hook input priority 0;
        tcp flags & rst == 0 meta length > 100 numgen random mod 1000 < 5 drop
    }
}
"""
# Flows are made to leave about so often.
LEAVE_EVERY_SECONDS = 0.005


async def leave_at_any_time(plane: Gated, seed: int) -> None:
    chance = random.Random(seed)
    while True:
        await trio.sleep(chance.random() * 2 * LEAVE_EVERY_SECONDS)
        plane.leave([member for member in plane.inside() if chance.random() < 0.5])


def talked(lab: Lab, gate: Gate, numbers: range, largest: int) -> list[Talk]:
    """Carry out plans, several at a time, of flows that come and go."""
    talks: list[Talk] = []

    async def play() -> None:
        waiting = iter(numbers)
        async with (
            gated(gate, tcp_port=15001, udp_port=15002) as plane,
            trio.open_nursery() as forcing,
        ):
            forcing.start_soon(leave_at_any_time, plane, numbers.start)
            async with trio.open_nursery() as nursery:
                for place in places(COUPLES):
                    nursery.start_soon(take_turns, plane, place, waiting)
            forcing.cancel_scope.cancel()

    async def take_turns(plane: Gated, place: Place, waiting: Iterator[int]) -> None:
        async with Couple.at(place, lab, plane.world) as couple:
            talks.extend([await couple.talk(number, largest) for number in waiting])

    with installed(lab, NetfilterSettings(), targets(COUPLES)):
        inside(lab.node, lambda: trio.run(play))
    print(summed_up(talks))
    return talks


def test_flows_that_overflow_all_the_time_arrive_whole(pod_node_server: Lab) -> None:
    with open_gate(backlog_bytes=BACKLOG_BYTES) as gate:
        talks = talked(pod_node_server, gate, range(40), 16 * MEBIBYTE)
    for talk in talks:
        talk.assert_whole()
    assert sum(Mover.SOCKMAP in talk.report.movers for talk in talks) > len(talks) / 2


def test_flows_whose_packets_are_lost_on_the_way_arrive_whole(pod_node_server: Lab) -> None:
    """What is sent again is often cut otherwise than before."""
    for namespace in (pod_node_server.pod, pod_node_server.node, pod_node_server.server):
        nft(namespace, LOSSY)
    with open_gate(backlog_bytes=BACKLOG_BYTES) as gate:
        talks = talked(pod_node_server, gate, range(100, 115), 2 * MEBIBYTE)
    for talk in talks:
        talk.assert_whole()


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_gibibytes_that_overflow_arrive_whole(pod_node_server: Lab) -> None:
    with open_gate(backlog_bytes=BACKLOG_BYTES) as gate:
        talks = talked(pod_node_server, gate, range(1000, 1100), 1024 * MEBIBYTE)
    for talk in talks:
        talk.assert_whole()
