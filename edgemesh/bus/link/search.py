"""Looking for a node at other replicas of the cloud: one after the other, until one has its link.

A node's link may hang on another replica than its session does, so nobody else can be asked. Until
a stream is accepted nothing of it has passed, so that the next replica can be tried.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable

from edgemesh.bus.link.forward import join
from edgemesh.bus.link.link import Link
from edgemesh.bus.link.replica import Replica
from edgemesh.bus.link.stream import Stream
from edgemesh.reactor.virtual import VirtualSocket
from edgemesh.wire.link.opening import Opening

Refuse = Callable[[int, str], None]


class Search:
    """The near side of the stream that is asked for at one replica after the other."""

    __slots__ = ("_found", "_left", "_opening", "_over", "_refuse", "_stream")

    def __init__(
        self,
        replicas: Iterable[Replica],
        opening: Opening,
        found: Callable[[Stream], None],
        refuse: Refuse,
    ) -> None:
        """Ask nobody before `start`.

        Args:
            replicas: to be asked, in this order.
            opening: what the stream is for.
            found: gets the stream once it is open.
            refuse: gets the errno and the reason when nobody has the node, or it does not want.
        """
        self._left = list(replicas)
        self._opening = opening._replace(hops=opening.hops + 1)
        self._found = found
        self._refuse = refuse
        self._stream: Stream | None = None
        self._over = False

    def start(self) -> None:
        """Ask the first."""
        self._next(errno.EHOSTUNREACH, f"{self._opening.destination} is not connected here")

    def give_up(self) -> None:
        """Nobody wants the stream any more."""
        self._over = True
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.refuse(errno.ECONNRESET, "")

    def opened(self) -> None:
        """The node has accepted."""
        self._over = True
        if self._stream is not None:
            self._found(self._stream)

    def refused(self, problem: int, reason: str = "") -> None:
        """The replica does not have the node, or the node does not want."""
        self._stream = None
        self._next(problem, reason)

    def reset(self, problem: int = errno.ECONNRESET, reason: str = "") -> None:
        """The link to the replica is gone."""
        self.refused(problem, reason)

    def received(self, data: bytes) -> None:
        """Nothing comes before the stream is open."""

    def ended(self) -> None:
        """As above."""

    def writable(self) -> None:
        """There is nothing to be sent."""

    def _next(self, problem: int, reason: str) -> None:
        if self._over:
            return
        if problem == errno.EHOSTUNREACH and self._left:
            self._left.pop(0).use(self._ask, self._next)
            return
        self._over = True
        self._refuse(problem, reason)

    def _ask(self, link: Link) -> None:
        if self._over:
            return
        try:
            self._stream = link.open(self._opening, self)
        except ValueError as error:
            self._next(errno.EMSGSIZE, str(error))


class Passenger:
    """The near side of a stream of another end, while its node is looked for."""

    __slots__ = ("_search", "_stream")

    def __init__(self, stream: Stream, opening: Opening, replicas: Iterable[Replica]) -> None:
        """Begin the search."""
        self._stream = stream
        self._search = Search(replicas, opening, self._found, stream.refuse)
        stream.near = self
        self._search.start()

    def opened(self) -> None:
        """It was asked for by the other end."""

    def refused(self, problem: int, reason: str = "") -> None:
        """As above."""

    def received(self, data: bytes) -> None:
        """Nothing comes before the stream is accepted."""

    def ended(self) -> None:
        """As above."""

    def reset(self, problem: int = errno.ECONNRESET, reason: str = "") -> None:  # noqa: ARG002
        """The other end does not want it any more."""
        self._search.give_up()

    def writable(self) -> None:
        """There is nothing to be sent."""

    def _found(self, onward: Stream) -> None:
        join(self._stream, onward)
        self._stream.accept()


class Seeker:
    """The far end of a stream of this end, while its node is looked for."""

    __slots__ = ("_search", "_sock")

    def __init__(self, sock: VirtualSocket, opening: Opening, replicas: Iterable[Replica]) -> None:
        """Begin the search."""
        self._sock = sock
        self._search = Search(replicas, opening, self._found, sock.refused)
        sock.far = self
        self._search.start()

    def accept(self) -> None:
        """No other end has asked."""

    def refuse(self, problem: int, reason: str) -> None:  # noqa: ARG002 - as `FarEnd` has it
        """The near side does not want it any more."""
        self._search.give_up()

    def send(self, data: bytes | memoryview) -> int:  # noqa: ARG002 - as `FarEnd` has it
        """Nothing is taken."""
        return 0

    def consumed(self, count: int) -> None:
        """Nothing has come."""

    def end(self) -> None:
        """Nothing was begun."""

    def drop(self, *, reset: bool) -> None:  # noqa: ARG002 - as `FarEnd` has it
        """The near side has closed."""
        self._search.give_up()

    def _found(self, onward: Stream) -> None:
        onward.near = self._sock
        self._sock.far = onward
        self._sock.opened()
