"""A virtual socket is like the kernel's: the same operations have the same outcome."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_fixtures import joined

from edgemesh.reactor.reactor import Reactor
from edgemesh.reactor.virtual import VirtualSocket

SIDES = (0, 1)
PATIENCE_SECONDS = 5.0
LINGER = {"fin": struct.pack("ii", 0, 0), "reset": struct.pack("ii", 1, 0)}
# EPOLLRDHUP and the others have the numbers that poll(2) has.
ALL_EVENTS = select.POLLIN | select.POLLOUT | select.EPOLLRDHUP

sizes = st.integers(1, 40)
operations = st.lists(
    st.tuples(
        st.sampled_from(SIDES),
        st.one_of(
            st.tuples(st.just("send"), st.binary(min_size=0, max_size=20)),
            st.tuples(st.just("recv"), sizes),
            st.tuples(st.just("peek"), sizes),
            st.tuples(st.just("recv_into"), sizes),
            st.tuples(st.just("peek_into"), sizes),
            st.tuples(st.just("shutdown"), st.just(socket.SHUT_WR)),
            st.tuples(st.just("error"), st.none()),
            st.tuples(st.just("low_water"), st.integers(1, 30)),
            st.tuples(st.just("close"), st.sampled_from(sorted(LINGER))),
        ),
    ),
    max_size=25,
)


def of_kernel() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    for sock in (near, far):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Without it the kernel acknowledges late, and a test would have to wait.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER["reset"])
    return near, far


class Kernels:
    def __init__(self) -> None:
        self.socks = of_kernel()

    def ready(self, side: int) -> int:
        poller = select.poll()
        poller.register(self.socks[side], ALL_EVENTS)
        return dict(poller.poll(0)).get(self.socks[side].fileno(), 0)

    def has_come(self, side: int, held: int, ready: int) -> None:
        """Wait for what is under way: the kernel may leave packets to another thread of its own."""
        until = time.monotonic() + PATIENCE_SECONDS
        while (self.held(side), self.ready(side)) != (held, ready) and time.monotonic() < until:
            os.sched_yield()

    def held(self, side: int) -> int:
        """Bytes that have come and were not read."""
        count = fcntl.ioctl(self.socks[side], termios.FIONREAD, bytes(4))
        return int.from_bytes(count, sys.byteorder)


class Virtuals:
    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.socks = joined(reactor)

    def ready(self, side: int) -> int:
        return self.reactor.descriptors.readiness(self.socks[side].fileno())

    def held(self, side: int) -> int:
        return self.socks[side]._received.held


def outcome(sock: socket.socket | VirtualSocket, name: str, argument: Any) -> object:
    try:
        match name:
            case "send":
                return sock.send(argument)
            case "recv":
                return sock.recv(argument)
            case "peek":
                return sock.recv(argument, socket.MSG_PEEK)
            case "recv_into" | "peek_into":
                buffer = bytearray(argument)
                flags = socket.MSG_PEEK if name == "peek_into" else 0
                count = sock.recv_into(memoryview(buffer), 0, flags)
                return bytes(buffer[:count])
            case "shutdown":
                return sock.shutdown(argument)
            case "error":
                return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            case "low_water":
                return sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, argument)
            case _:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER[argument])
                return sock.close()
    except OSError as error:
        return error.errno


@pytest.fixture(scope="module")
def reactor() -> Iterator[Reactor]:
    with Reactor(0) as reactor:
        yield reactor


@given(operations)
@settings(max_examples=400, deadline=None)
def test_the_same_operations_have_the_same_outcome_as_with_a_tcp_connection(
    reactor: Reactor, steps: list[tuple[int, tuple[str, Any]]]
) -> None:
    kernels, virtuals = Kernels(), Virtuals(reactor)
    with closing(kernels.socks[0]), closing(kernels.socks[1]):
        closed = set()
        for side, (name, argument) in steps:
            if side in closed:
                continue
            expected = outcome(kernels.socks[side], name, argument)
            assert outcome(virtuals.socks[side], name, argument) == expected, (side, name)
            virtuals.reactor.settle()
            if name == "close":
                closed.add(side)
            for other in set(SIDES) - closed:
                kernels.has_come(other, virtuals.held(other), virtuals.ready(other))
                assert virtuals.ready(other) == kernels.ready(other), (other, name)
        for sock in virtuals.socks:
            sock.close()
        reactor.settle()
