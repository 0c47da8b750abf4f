"""Bytes that TCP sends again in other pieces go through the gate once."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from gate_fixtures import gated, open_gate
from hand_made_tcp import NODE, HandMadeClient
from interception_lab import inside
from plane_fixtures import PATIENCE_SECONDS

from edgemesh.kernel.bpf.gate_maps import LOST, Gate, Junction

pytestmark = pytest.mark.root

STREAM = b"0123456789abcdefghijklmnopqrstuvwxyz"
LONG = bytes(range(256)) * 64


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    with open_gate() as made:
        yield made


class Flow:
    """A client whose segments a test makes, and the flow that it belongs to."""

    def __init__(self, gate: Gate, opened: ExitStack) -> None:
        self._gate = gate
        self._opened = opened
        self.client = opened.enter_context(HandMadeClient())
        with socket.create_server((NODE, 0)) as server:
            self.client.connect(server.getsockname()[1])
            self.source = opened.enter_context(closing(server.accept()[0]))
        with socket.create_server(("127.0.0.1", 0)) as server:
            target = socket.create_connection(server.getsockname())
            self.target = opened.enter_context(closing(target))
            self.endpoint = opened.enter_context(closing(server.accept()[0]))
        for sock in (self.source, self.endpoint):
            sock.settimeout(PATIENCE_SECONDS)

    def enter(self) -> Junction:
        junction = self._gate.open(self.source, self.target)
        self._opened.callback(self._gate.close, junction, self.source, self.target)
        self._gate.enter(self.source)
        self._gate.enter(self.target)
        return junction

    def say(self, start: int, end: int, stream: bytes = STREAM) -> None:
        self.client.send(start, stream[start:end])

    def has_failed(self) -> bool:
        """Whether the target has got an error, for which the kernel has time."""
        poll = select.poll()
        poll.register(self.target, 0)
        return bool(poll.poll(200))


def try_in(namespace: str, gate: Gate, case: Callable[[Flow], None]) -> None:
    def call() -> None:
        with ExitStack() as opened:
            case(Flow(gate, opened))

    inside(namespace, call)


def hear(sock: socket.socket, count: int) -> bytes:
    """So many bytes, and what comes with the last of them."""
    heard = b""
    while len(heard) < count:
        part = sock.recv(65536)
        assert part, f"end of stream after {len(heard)} of {count} bytes"
        heard += part
    return heard


def test_what_was_redirected_is_not_redirected_again(lone_node: str, gate: Gate) -> None:
    def case(flow: Flow) -> None:
        junction = flow.enter()
        flow.say(0, 10)
        assert hear(flow.endpoint, 10) == STREAM[:10]
        flow.say(5, 20)
        assert hear(flow.endpoint, 10) == STREAM[10:20]
        assert junction.from_client.redirected == 20

    try_in(lone_node, gate, case)


def test_what_the_agent_read_before_is_not_redirected(lone_node: str, gate: Gate) -> None:
    def case(flow: Flow) -> None:
        flow.say(0, 10)
        assert hear(flow.source, 10) == STREAM[:10]
        flow.enter()
        flow.say(5, 20)
        assert hear(flow.endpoint, 10) == STREAM[10:20]

    try_in(lone_node, gate, case)


def test_what_was_passed_is_not_passed_again(lone_node: str, gate: Gate) -> None:
    def case(flow: Flow) -> None:
        junction = flow.enter()
        junction.from_client.hold()
        flow.say(0, 10)
        flow.say(5, 20)
        assert hear(flow.source, 20) == STREAM[:20]
        flow.say(15, 30)
        assert hear(flow.source, 10) == STREAM[20:30]
        assert junction.from_client.passed == 30

    try_in(lone_node, gate, case)


def test_what_came_too_early_and_again_is_redirected_once(lone_node: str, gate: Gate) -> None:
    def case(flow: Flow) -> None:
        flow.enter()
        flow.say(20, 36)
        flow.say(0, 25)
        assert hear(flow.endpoint, 36) == STREAM

    try_in(lone_node, gate, case)


def test_however_long_an_overlap_is_it_is_redirected_once(lone_node: str, gate: Gate) -> None:
    def case(flow: Flow) -> None:
        flow.enter()
        for start in range(0, 10_000, 1000):
            flow.say(start, start + 1000, LONG)
        assert hear(flow.endpoint, 10_000) == LONG[:10_000]
        # One packet on a TUN device has no more than its MTU.
        flow.say(8700, 10_100, LONG)
        assert hear(flow.endpoint, 100) == LONG[10_000:10_100]

    try_in(lone_node, gate, case)


def test_an_end_that_comes_with_bytes_that_came_before_harms_nobody(
    lone_node: str, gate: Gate
) -> None:
    def case(flow: Flow) -> None:
        junction = flow.enter()
        flow.say(0, 10)
        assert hear(flow.endpoint, 10) == STREAM[:10]
        flow.client.send(0, STREAM[:10], end=True)
        assert hear_end(flow.source)
        assert not flow.has_failed()
        assert junction.from_client.redirected == 10

    try_in(lone_node, gate, case)


def hear_end(sock: socket.socket) -> bool:
    return sock.recv(1) == b""


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
