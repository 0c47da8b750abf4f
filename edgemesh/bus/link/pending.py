"""A stream that waits for a link."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgemesh.reactor.virtual import VirtualSocket
from edgemesh.wire.link.opening import Opening

if TYPE_CHECKING:
    from edgemesh.bus.link.peer import Peer


class Pending:
    """The far end of a stream until there is a link for it.

    Attributes:
        opening: what it is for.
        sock: its near side, which is connecting.
    """

    __slots__ = ("_peer", "opening", "sock")

    def __init__(self, peer: Peer, opening: Opening, sock: VirtualSocket) -> None:
        """Wait; made by `Peer`."""
        self._peer = peer
        self.opening = opening
        self.sock = sock

    def accept(self) -> None:
        """No other end has asked."""

    def refuse(self, problem: int, reason: str) -> None:  # noqa: ARG002 - as `FarEnd` has it
        """The near side does not want it any more."""
        self._peer.forget(self)

    def send(self, data: bytes | memoryview) -> int:  # noqa: ARG002 - as `FarEnd` has it
        """Nothing is taken."""
        return 0

    def consumed(self, count: int) -> None:
        """Nothing has come."""

    def end(self) -> None:
        """Nothing was begun."""

    def drop(self, *, reset: bool) -> None:  # noqa: ARG002 - as `FarEnd` has it
        """The near side has closed."""
        self._peer.forget(self)
