"""What the reactor promises to handlers of virtual sockets: the same as to the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import structlog
import trio
import trio.testing
from virtual_fixtures import joined

from edgemesh.reactor.reactor import IN, OUT, Reactor
from edgemesh.reactor.virtual import VirtualSocket


class Reader:
    """Reads a byte at each event, and does what the test wants."""

    def __init__(
        self, reactor: Reactor, sock: VirtualSocket, then: Callable[[], object] | None = None
    ) -> None:
        self.reactor = reactor
        self.sock = sock
        self.then = then
        self.heard: list[bytes] = []
        self.bugs: list[Exception] = []

    def watch(self, events: int = IN) -> Reader:
        self.reactor.watch(self.sock.fileno(), self, events)
        return self

    def watch_as_newcomer(self) -> Reader:
        self.reactor.watch_newcomer(self.sock.fileno(), self, IN)
        return self

    def on_events(self, events: int) -> None:  # noqa: ARG002
        self.heard.append(self.sock.recv(1))
        if self.then:
            self.then()

    def on_bug(self, error: Exception) -> None:
        self.bugs.append(error)
        self.reactor.close(self.sock)


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    # No slice of a turn is over before everybody had its turn.
    with Reactor(0, lambda: 0.0) as reactor:
        yield reactor


def with_bytes(reactor: Reactor, data: bytes) -> VirtualSocket:
    near, far = joined(reactor)
    near.send(data)
    reactor.settle()
    return far


def test_what_is_left_unread_comes_again_in_the_next_turn(reactor: Reactor) -> None:
    reader = Reader(reactor, with_bytes(reactor, b"abc")).watch()
    assert [reactor.turn() for _ in range(4)] == [1, 1, 1, 0]
    assert reader.heard == [b"a", b"b", b"c"]


def test_sockets_take_turns(reactor: Reactor) -> None:
    order: list[str] = []
    for name in "xyz":
        sock = with_bytes(reactor, b"12")
        Reader(reactor, sock, partial(order.append, name)).watch()
    reactor.turn()
    reactor.turn()
    assert order == [*"xyz", *"xyz"]


def test_nobody_is_told_of_what_was_not_asked_for(reactor: Reactor) -> None:
    reader = Reader(reactor, with_bytes(reactor, b"a")).watch(0)
    assert not reactor.turn()
    reader.watch()
    assert reactor.turn()


def test_a_hangup_is_told_whatever_was_asked_for(reactor: Reactor) -> None:
    near, far = joined(reactor)
    reader = Reader(reactor, far).watch(0)
    near.close()
    reactor.settle()
    with structlog.testing.capture_logs():
        reactor.turn()
    assert reader.bugs


def test_who_is_unregistered_is_not_told_any_more(reactor: Reactor) -> None:
    sock = with_bytes(reactor, b"a")
    reader = Reader(reactor, sock).watch()
    reactor.unregister(sock.fileno())
    reactor.turn()
    assert not reader.heard
    assert len(reactor) == 0


def test_one_handler_may_close_the_next_of_the_same_turn(reactor: Reactor) -> None:
    second = Reader(reactor, with_bytes(reactor, b"a"))
    Reader(reactor, with_bytes(reactor, b"a"), lambda: reactor.close(second.sock)).watch()
    second.watch()
    reactor.turn()
    assert not second.heard
    assert second.sock.fileno() == -1


def test_a_bug_ends_the_connection_it_happened_in(reactor: Reactor) -> None:
    def fail() -> None:
        raise KeyError

    failing = Reader(reactor, with_bytes(reactor, b"a"), fail).watch()
    other = Reader(reactor, with_bytes(reactor, b"a")).watch()
    with structlog.testing.capture_logs():
        reactor.turn()
    assert isinstance(failing.bugs[0], KeyError)
    assert other.heard == [b"a"]
    assert reactor.bugs == 1


def test_newcomers_get_a_slice_of_the_turn() -> None:
    readings = iter(range(10_000))
    with Reactor(0, lambda: next(readings) * 0.00003) as reactor:
        order: list[str] = []
        for _ in range(50):
            sock = with_bytes(reactor, b"a")
            Reader(reactor, sock, partial(order.append, "newcomer")).watch_as_newcomer()
        flow = with_bytes(reactor, b"aa")
        Reader(reactor, flow, partial(order.append, "flow")).watch()
        reactor.turn()
        first_turn = len(order)
        reactor.turn()
        assert order[0] == order[first_turn] == "flow"
        assert 1 < first_turn < 50
        for _ in range(50):
            reactor.turn()
        assert order.count("newcomer") == 50


def test_a_newcomer_that_becomes_a_flow_waits_among_flows(reactor: Reactor) -> None:
    reader = Reader(reactor, with_bytes(reactor, b"ab")).watch_as_newcomer()

    def become_a_flow() -> None:
        reader.watch()

    reader.then = become_a_flow
    reactor.turn()
    assert not reactor.descriptors.newcomers
    reactor.turn()
    assert reader.heard == [b"a", b"b"]


def test_it_can_be_asked_whether_a_socket_is_ready_before_a_turn_tells(reactor: Reactor) -> None:
    near, far = joined(reactor, opened=False)
    far.accept()
    assert not reactor.is_ready(near.fileno(), OUT)
    assert reactor.is_ready(far.fileno(), OUT)
    near.refused(1)
    assert reactor.is_ready(near.fileno(), 0)


async def test_what_gets_ready_between_turns_wakes_the_reactor() -> None:
    with Reactor(0) as reactor:
        near, far = joined(reactor)
        heard = trio.Event()
        reader = Reader(reactor, far, heard.set).watch()

        def send_one() -> None:
            near.send(b"a")

        async with trio.open_nursery() as nursery:
            await nursery.start(reactor.run)
            for _ in range(3):
                heard = trio.Event()
                reader.then = heard.set
                await trio.testing.wait_all_tasks_blocked(0.01)
                reactor.call(reader, send_one)
                with trio.fail_after(5):
                    await heard.wait()
            nursery.cancel_scope.cancel()
        assert reader.heard == [b"a"] * 3


async def test_other_tasks_run_while_a_virtual_socket_is_always_ready() -> None:
    class Idler:
        events = 0

        def on_events(self, events: int) -> None:  # noqa: ARG002
            self.events += 1

        def on_bug(self, error: Exception) -> None:
            raise error

    with Reactor(0) as reactor:
        near, _ = joined(reactor)
        idler = Idler()
        async with trio.open_nursery() as nursery:
            await nursery.start(reactor.run)
            reactor.watch(near.fileno(), idler, OUT)
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert idler.events > 5
