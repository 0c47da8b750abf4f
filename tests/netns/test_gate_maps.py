"""The gate's maps: what C and Python have of them is the same, and who may be in them."""

from __future__ import annotations

import re
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from bpf_samples import bpf_place, detached, only
from gate_fixtures import gated, open_gate
from plane_fixtures import PATIENCE_SECONDS

from edgemesh.kernel.bpf import gate_maps
from edgemesh.kernel.bpf.gate_maps import Gate
from edgemesh.kernel.bpf.loader import load
from edgemesh.kernel.bpf.programs import GATE, Group, Program
from edgemesh.kernel.bpf.syscall import AttachType, ProgramType
from edgemesh.kernel.shipped import shipped
from edgemesh.kernel.tcp_state import TCP_CLOSE, bytes_written, raise_send_buffer, tcp_state

pytestmark = pytest.mark.root

LINGER_ZERO = struct.pack("ii", 1, 0)
FOREIGN = """
#include <uapi/linux/bpf.h>
BPF_SOCKHASH(others, u64, 16);
int pass_all(struct __sk_buff *skb) { return SK_PASS; }
"""

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    with open_gate() as made:
        yield made


@pytest.fixture
def pairs() -> Iterator[tuple[Pair, Pair]]:
    """Two connections, each with the agent's end first."""
    with ExitStack() as opened:
        yield opened.enter_context(connection()), opened.enter_context(connection())


@contextmanager
def connection() -> Iterator[Pair]:
    """Both ends of a connection, of which the first does not block."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        mine = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    with mine, other:
        mine.setblocking(False)
        other.settimeout(PATIENCE_SECONDS)
        yield mine, other


def reset(pair: Pair) -> None:
    """Have the other end break off; returns when the agent's end knows."""
    mine, other = pair
    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    other.close()
    poll = select.poll()
    poll.register(mine, 0)
    assert poll.poll(PATIENCE_SECONDS * 1000)


def test_words_are_where_the_program_has_them() -> None:
    text = shipped("bpf", "gate.h").read_text()
    body = re.search(r"struct way \{(.*?)\};", text, re.DOTALL)
    assert body is not None
    members = re.findall(r"__u64 (\w+);", body[1])
    assert len(members) == gate_maps.WAY_WORDS
    assert [getattr(gate_maps, member.upper()) for member in members] == list(range(len(members)))


def test_bytes_go_from_socket_to_socket(gate: Gate, pairs: tuple[Pair, Pair]) -> None:
    (one, peer_of_one), (two, peer_of_two) = pairs
    junction = gate.open(one, two)
    gate.enter(one)
    gate.enter(two)
    peer_of_one.sendall(b"there")
    assert peer_of_two.recv(16) == b"there"
    peer_of_two.sendall(b"and back")
    assert peer_of_one.recv(16) == b"and back"
    assert (junction.from_client.redirected, junction.from_endpoint.redirected) == (5, 8)
    gate.close(junction, one, two)


def test_what_is_held_is_passed(gate: Gate, pairs: tuple[Pair, Pair]) -> None:
    (one, peer_of_one), (two, _) = pairs
    junction = gate.open(one, two)
    junction.from_client.hold()
    gate.enter(one)
    peer_of_one.sendall(b"wait")
    one.settimeout(PATIENCE_SECONDS)
    assert one.recv(16) == b"wait"
    assert (junction.from_client.redirected, junction.from_client.passed) == (0, 4)
    was_released = junction.from_client.released
    junction.from_client.release(4)
    assert (was_released, junction.from_client.released) == (False, True)
    gate.close(junction, one, two)


def test_a_gate_has_room_for_so_many_flows_and_for_others_when_they_are_over() -> None:
    with open_gate(gate_flows=2) as gate, ExitStack() as opened:
        ends = [opened.enter_context(connection())[0] for _ in range(6)]
        first = gate.open(ends[0], ends[1])
        gate.open(ends[2], ends[3])
        with pytest.raises(OSError, match="full"):
            gate.open(ends[4], ends[5])
        gate.close(first, ends[0], ends[1])
        gate.open(ends[4], ends[5])


def test_nobody_enters_a_gate_whose_program_was_detached(pairs: tuple[Pair, Pair]) -> None:
    with bpf_place() as place:
        loaded = load(place, owner="operator", loading=only(GATE))
        (verdict,) = GATE.programs
        with (
            Gate(loaded.map, place.backlog_bytes) as gate,
            detached(place, verdict),
            pytest.raises(OSError, match="detached"),
        ):
            gate.open(pairs[0][0], pairs[1][0])


def test_a_socket_whose_peer_has_ended_does_not_enter(gate: Gate, pairs: tuple[Pair, Pair]) -> None:
    (one, peer_of_one), (two, _) = pairs
    junction = gate.open(one, two)
    peer_of_one.shutdown(socket.SHUT_WR)
    one.settimeout(PATIENCE_SECONDS)
    assert one.recv(1) == b""
    with pytest.raises(OSError, match="not supported"):
        gate.enter(one)
    gate.close(junction, one, two)


def test_a_flow_that_cannot_be_let_in_leaves_nothing_behind(
    gate: Gate, pairs: tuple[Pair, Pair]
) -> None:
    (one, peer_of_one), (two, _) = pairs
    reset(pairs[1])
    with pytest.raises(OSError, match="not supported"):
        gate.open(one, two)
    peer_of_one.sendall(b"plain")
    one.settimeout(PATIENCE_SECONDS)
    assert one.recv(16) == b"plain"


async def test_a_flow_whose_socket_somebody_else_s_program_has_is_relayed(
    gate: Gate, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = tmp_path_factory.mktemp("foreign") / "foreign.bpf.c"
    source.write_text(FOREIGN)
    verdict = Program("pass_all", ProgramType.SK_SKB, AttachType.SK_SKB_VERDICT, "others")
    with bpf_place() as place:
        foreign = load(
            place, owner="operator", loading=only(Group("foreign", str(source), (verdict,)))
        )
        async with gated(gate) as plane:
            server = plane.world.serve()
            plane.world.service(server.endpoint)
            client = await plane.world.call()
            endpoint = await server.accept()
            await plane.world.until(lambda: plane.world.plane.flows)
            (flow,) = plane.world.plane.flows
            await plane.world.until(lambda: flow.upstream is not None)
            assert flow.upstream is not None
            with foreign.map("others") as others:
                others.update(bytes(8), struct.pack("=i", flow.upstream.fileno()))
            for number in range(20):
                said = b"%08d" % number
                await client.send(said)
                assert await endpoint.receive(8) == said
                await endpoint.send(said)
                assert await client.receive(8) == said
            assert not plane.inside()


def test_what_was_written_is_counted_whether_it_was_acknowledged_or_not(
    pairs: tuple[Pair, Pair],
) -> None:
    (one, peer), _ = pairs
    before = bytes_written(one)
    sent = 0
    try:
        while True:
            sent += one.send(bytes(100_000))
    except BlockingIOError:
        pass
    assert tcp_state(one).written - before <= sent
    assert bytes_written(one) - before == sent
    left = sent
    while left:
        left -= len(peer.recv(left))
    assert bytes_written(one) - before == sent


def test_a_connection_that_was_reset_is_told_as_closed(pairs: tuple[Pair, Pair]) -> None:
    reset(pairs[0])
    assert tcp_state(pairs[0][0]).state == TCP_CLOSE


def test_a_send_buffer_is_raised_and_not_lowered(pairs: tuple[Pair, Pair]) -> None:
    (one, _), _ = pairs
    raise_send_buffer(one, 1 << 25)
    assert one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 1 << 25
    raise_send_buffer(one, 1 << 16)
    assert one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 1 << 25
