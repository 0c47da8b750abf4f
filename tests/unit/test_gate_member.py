"""Bytes of a flow in the gate are counted once, whoever has moved them."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.kernel.bpf.gate_maps import LAST_NS, PASSED, REDIRECTED, WAY_WORDS, Way
from edgemesh.kernel.tcp_state import TCP_CLOSE, TcpState
from edgemesh.proxy.forward.carried import Direction
from edgemesh.proxy.forward.gate_member import Side

ESTABLISHED = 1
BASE = 1000
STEPS = st.lists(
    st.tuples(st.sampled_from(["redirect", "pass", "send", "count"]), st.integers(1, 99))
)


class Kernel:
    """The words of a direction, in memory of this process."""

    def __init__(self) -> None:
        self.words = memoryview(bytearray(WAY_WORDS * 8)).cast("Q")
        self.way = Way(self.words, 0, BASE)

    def redirect(self, count: int) -> None:
        self.words[REDIRECTED] += count
        self.words[LAST_NS] = time.monotonic_ns()

    def leave_to_agent(self, count: int) -> None:
        self.words[PASSED] += count


@pytest.fixture(scope="module")
def sock() -> Iterator[socket.socket]:
    with socket.socket() as made:
        yield made


def test_a_direction_begins_released() -> None:
    assert Kernel().way.released


def test_a_direction_that_is_held_is_released_by_no_count() -> None:
    kernel = Kernel()
    kernel.leave_to_agent(7)
    kernel.way.hold()
    assert not kernel.way.released


def test_a_release_comes_too_early_when_more_was_passed() -> None:
    kernel = Kernel()
    kernel.leave_to_agent(7)
    kernel.way.hold()
    kernel.leave_to_agent(1)
    kernel.way.release(7)
    assert not kernel.way.released
    kernel.way.release(8)
    assert kernel.way.released


@given(moved_before=st.integers(0, 1 << 40), steps=STEPS)
def test_whoever_moves_bytes_their_sum_is_what_has_moved(
    sock: socket.socket, moved_before: int, steps: list[tuple[str, int]]
) -> None:
    kernel = Kernel()
    direction = Direction(moved=moved_before)
    side = Side(sock, direction, kernel.way)
    redirected = passed = sent = 0
    for step, count in steps:
        if step == "redirect":
            kernel.redirect(count)
            redirected += count
        elif step == "pass":
            kernel.leave_to_agent(count)
            passed += count
        elif step == "send":
            some = min(count, passed - sent)
            direction.moved += some
            sent += some
        else:
            side.count()
    side.count()
    assert direction.moved == moved_before + redirected + sent
    side.entered = True
    assert side.all_is_sent() is (sent == passed)
    written = BASE + redirected + sent
    assert side.has_arrived(TcpState(ESTABLISHED, written))
    assert not side.has_arrived(TcpState(ESTABLISHED, written - 1))
    assert side.has_arrived(TcpState(TCP_CLOSE, 0))


@given(passed=st.integers(0, 1 << 40), redirected=st.integers(0, 1 << 40))
def test_the_kernel_is_released_when_all_that_was_passed_is_sent(
    sock: socket.socket, passed: int, redirected: int
) -> None:
    kernel = Kernel()
    direction = Direction(moved=5)
    side = Side(sock, direction, kernel.way)
    kernel.redirect(redirected)
    kernel.way.hold()
    kernel.leave_to_agent(passed)
    side.count()
    direction.moved += passed
    side.release()
    assert kernel.way.released


def test_rest_is_since_the_kernel_moved_what_is_not_counted(sock: socket.socket) -> None:
    kernel = Kernel()
    side = Side(sock, Direction(), kernel.way)
    assert side.rest() == math.inf
    kernel.redirect(1)
    assert 0 <= side.rest() < 60
    side.count()
    assert side.rest() == math.inf
