"""Two virtual sockets joined in one process: what one sends the other gets, within a window."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from edgemesh.reactor.reactor import Reactor
from edgemesh.reactor.virtual import VirtualSocket


class Wire:
    """The far end of one socket, which is the other socket.

    What passes is told at the end of the reactor's turn, as by a link. The other socket may be
    another reactor's.
    """

    def __init__(self, owner: VirtualSocket, reactor: Reactor, window: int) -> None:
        self.owner = owner
        self.peer: Wire
        self.window = window
        self.most_held = 0
        self.dropped: bool | None = None
        self.reactor = reactor
        self._under_way = 0
        self._blocked = False
        self._gone: deque[Callable[[], None]] = deque()
        owner.far = self

    def send(self, data: bytes | memoryview) -> int:
        taken = min(len(data), self.window - self._under_way)
        self._blocked = taken < len(data)
        if self.owner.datagrams and taken < len(data):
            return 0
        if taken or self.owner.datagrams:
            self._under_way += taken
            self.most_held = max(self.most_held, self._under_way)
            part = bytes(memoryview(data)[:taken])
            self.tell(lambda: self._receive(part))
        return taken

    def accept(self) -> None:
        self.tell(self.peer.owner.opened)

    def refuse(self, problem: int, reason: str) -> None:
        self.tell(lambda: self.peer.owner.refused(problem, reason))

    def consumed(self, count: int) -> None:
        sender = self.peer
        sender._under_way -= count
        if sender._blocked:
            sender._blocked = False
            self.tell(sender.owner.writable)

    def end(self) -> None:
        self.tell(self.peer.owner.ended)

    def drop(self, *, reset: bool) -> None:
        self.dropped = reset
        self.tell(self.peer.owner.reset if reset else self.peer.owner.ended)

    def deliver(self) -> None:
        while self._gone:
            self.peer.reactor.call(self, self._gone.popleft())

    def _receive(self, data: bytes) -> None:
        if self.peer.dropped is None:
            self.peer.owner.received(data)
        else:
            # RFC 9293, 3.10.7.1: what comes for a connection that is closed is answered by RST.
            self.reactor.call(self, self.owner.reset)

    def tell(self, what: Callable[[], None]) -> None:
        self._gone.append(what)
        self.reactor.soon(self, self.deliver)

    def on_events(self, events: int) -> None:
        raise AssertionError(events)

    def on_bug(self, error: Exception) -> None:
        raise error


def wired(
    near: VirtualSocket, far: VirtualSocket, reactors: tuple[Reactor, Reactor], window: int
) -> tuple[Wire, Wire]:
    """Join two sockets, each of its reactor; the second has yet to accept."""
    wires = Wire(near, reactors[0], window), Wire(far, reactors[1], window)
    wires[0].peer, wires[1].peer = wires[1], wires[0]
    return wires


def joined(
    reactor: Reactor, window: int = 65536, *, datagrams: bool = False, opened: bool = True
) -> tuple[VirtualSocket, VirtualSocket]:
    """Two sockets; without ``opened`` the second has yet to accept."""
    near = VirtualSocket(reactor, datagrams=datagrams)
    far = VirtualSocket(reactor, datagrams=datagrams)
    wired(near, far, (reactor, reactor), window)
    if opened:
        near.opened()
        far.opened()
    return near, far
