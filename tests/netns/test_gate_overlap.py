"""What a sender repeats in a segment that brings something new arrives once."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest
from gate_fixtures import gated, open_gate

from edgemesh.kernel.bpf.gate_maps import LOST, Gate

pytestmark = pytest.mark.root

# linux/tcp.h
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
RECEIVE_QUEUE, SEND_QUEUE = 1, 2
REPAIR, REPAIR_OFF_WITHOUT_PROBE = 1, -1
PUSH_AND_ACK = 0x18
NEW = b"something new"


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    with open_gate() as made:
        yield made


@pytest.mark.parametrize(("said", "repeated"), [(0, 1), (30_000, 1), (30_000, 20_000)])
async def test_what_is_repeated_before_something_new_arrives_once(
    gate: Gate, said: int, repeated: int
) -> None:
    async with gated(gate) as plane:
        client, endpoint = await plane.connected()
        words = bytes(number % 251 for number in range(said))
        await client.send(words)
        assert await endpoint.receive(said) == words
        # The first of its words was before the gate.
        send_segment(client.raw, (b"?" + words)[-repeated:], NEW)
        assert await endpoint.receive(len(NEW)) == NEW
        client.reset()
        await endpoint.receive_until_reset()


async def test_a_flow_that_lacks_something_is_ended_at_both_ends(gate: Gate) -> None:
    """As if the kernel had had no memory to cut what is repeated."""
    async with gated(gate) as plane:
        client, endpoint = await plane.connected()
        (member,) = plane.inside()
        way = member.client.way
        way._words[way._at + LOST] = 1
        # More than may be under way, so that the kernel tells the agent of the direction.
        client.send_what_fits(bytes(8_000_000))
        await endpoint.receive_until_reset()
        assert await client.receive_until_reset() == b""
        report = await plane.world.report()
        assert (report.ending, report.reason) == (
            "error",
            "the kernel had no memory for what has come",
        )


def send_segment(sock: socket.socket, repeated: bytes, new: bytes) -> None:
    """Send behind the socket's back what it would if it sent its last bytes again with new ones."""
    sequence, acknowledged = numbers(sock)
    source, target = sock.getsockname(), sock.getpeername()
    start, data = (sequence - len(repeated)) % 2**32, repeated + new
    header = struct.pack(
        "!HHIIBBHHH",
        source[1],
        target[1],
        start,
        acknowledged,
        5 << 4,
        PUSH_AND_ACK,
        0xFFFF,
        0,
        0,
    )
    pseudo = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
    pseudo += struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(header) + len(data))
    checksum = struct.pack("!H", checksum_of(pseudo + header + data))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.bind((source[0], 0))
        raw.sendto(header[:16] + checksum + header[18:] + data, (target[0], 0))


def numbers(sock: socket.socket) -> tuple[int, int]:
    """The sequence number of the next byte, and of the next that is expected."""
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR)
    found = []
    for queue in (SEND_QUEUE, RECEIVE_QUEUE):
        sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
        found.append(sock.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ) % 2**32)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_OFF_WITHOUT_PROBE)
    return found[0], found[1]


def checksum_of(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
