"""Virtual sockets beyond what they have in common with TCP: credit, datagrams, connecting."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_fixtures import Wire, joined

from edgemesh.reactor.reactor import ERROR, HANGUP, HANGUP_IN, IN, OUT, Reactor
from edgemesh.reactor.virtual import VirtualSocket


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    with Reactor(0) as reactor:
        yield reactor


def ready(reactor: Reactor, sock: VirtualSocket) -> int:
    return reactor.descriptors.readiness(sock.fileno())


def error_of(sock: VirtualSocket) -> int:
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@given(
    window=st.integers(1, 50),
    parts=st.lists(st.binary(min_size=1, max_size=80), max_size=20),
    size=st.integers(1, 30),
)
def test_all_bytes_arrive_in_order_and_never_more_than_the_window_is_held(
    window: int, parts: list[bytes], size: int
) -> None:
    with Reactor(0) as reactor:
        near, far = joined(reactor, window)
        rest = b"".join(parts)
        arrived = b""
        while len(arrived) < sum(map(len, parts)):
            while ready(reactor, near) & OUT and rest:
                rest = rest[near.send(rest) :]
            reactor.settle()
            arrived += far.recv(size)
            reactor.settle()
        assert arrived == b"".join(parts)
        assert isinstance(near.far, Wire)
        assert near.far.most_held <= window


def test_a_socket_without_credit_would_block_until_the_other_side_reads(reactor: Reactor) -> None:
    near, far = joined(reactor, window=4)
    assert near.send(b"123456") == 4
    assert not ready(reactor, near) & OUT
    with pytest.raises(BlockingIOError):
        near.send(b"56")
    reactor.settle()
    assert far.recv(2) == b"12"
    reactor.settle()
    assert ready(reactor, near) & OUT
    assert near.send(b"56") == 2


def test_several_buffers_are_sent_as_one(reactor: Reactor) -> None:
    near, far = joined(reactor)
    assert near.sendmsg([b"a", memoryview(b"bc")]) == 3
    reactor.settle()
    assert far.recv(9) == b"abc"


def test_nothing_can_be_sent_before_the_other_side_accepts(reactor: Reactor) -> None:
    near, far = joined(reactor, opened=False)
    assert not ready(reactor, near)
    with pytest.raises(BlockingIOError):
        near.send(b"x")
    far.accept()
    far.accept()
    reactor.settle()
    assert ready(reactor, near) == ready(reactor, far) == OUT
    assert error_of(near) == 0


def test_who_is_refused_learns_it_once_and_may_read_the_reason(reactor: Reactor) -> None:
    near, far = joined(reactor, opened=False)
    far.refuse(errno.EACCES, "not yours")
    reactor.settle()
    assert far.fileno() == -1
    assert ready(reactor, near) & ERROR
    assert (error_of(near), error_of(near)) == (errno.EACCES, 0)
    assert near.reason == "not yours"


def test_a_reset_while_it_connects_is_a_refused_connection(reactor: Reactor) -> None:
    near, _ = joined(reactor, opened=False)
    near.reset()
    assert error_of(near) == errno.ECONNREFUSED


def test_datagrams_keep_their_borders_and_lose_what_the_reader_has_no_room_for(
    reactor: Reactor,
) -> None:
    near, far = joined(reactor, datagrams=True)
    for datagram in (b"one", b"", b"three"):
        near.send(datagram)
    reactor.settle()
    buffer = bytearray(2)
    assert far.recv(9, socket.MSG_PEEK) == b"one"
    assert (far.recv_into(buffer), bytes(buffer)) == (2, b"on")
    assert ready(reactor, far) & IN
    assert far.recv(9) == b""
    assert far.recv(9) == b"three"
    with pytest.raises(BlockingIOError):
        far.recv(9)


def test_a_datagram_is_taken_whole_or_not_at_all(reactor: Reactor) -> None:
    near, far = joined(reactor, window=4, datagrams=True)
    near.send(b"123")
    with pytest.raises(BlockingIOError):
        near.send(b"45")
    reactor.settle()
    assert far.recv(9) == b"123"


def test_the_end_of_a_stream_of_datagrams_is_no_empty_datagram(reactor: Reactor) -> None:
    near, far = joined(reactor, datagrams=True)
    near.send(b"last")
    near.shutdown(socket.SHUT_WR)
    reactor.settle()
    assert ready(reactor, far) & HANGUP_IN
    assert far.recv(9) == b"last"
    with pytest.raises(OSError, match="not connected") as raised:
        far.recv(9)
    assert raised.value.errno == errno.ENOTCONN


def test_reading_can_be_shut_alone(reactor: Reactor) -> None:
    near, far = joined(reactor)
    near.shutdown(socket.SHUT_RD)
    assert near.recv(1) == b""
    assert not ready(reactor, near) & HANGUP
    assert near.send(b"x") == 1
    reactor.settle()
    assert far.recv(1) == b"x"


def test_a_closed_socket_has_no_descriptor_and_takes_nothing(reactor: Reactor) -> None:
    near, _ = joined(reactor)
    near.close()
    near.close()
    assert near.fileno() == -1
    near.received(b"late")
    near.reset()
    for use in (lambda: near.recv(1), lambda: near.send(b""), lambda: near.shutdown(1)):
        with pytest.raises(OSError, match="Bad file descriptor"):
            use()


def test_options_about_packets_are_taken_and_mean_nothing(reactor: Reactor) -> None:
    near, _ = joined(reactor)
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    near.setblocking(False)
    with pytest.raises(OSError, match="not available"):
        near.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO)


def test_names_are_those_that_the_carrier_gave(reactor: Reactor) -> None:
    near, _ = joined(reactor)
    near.sockname, near.peername = ("10.0.0.1", 80), ("10.0.0.2", 4000)
    assert near.getsockname() == ("10.0.0.1", 80)
    assert near.getpeername() == ("10.0.0.2", 4000)
