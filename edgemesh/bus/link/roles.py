"""Who is told what: the connection by its streams, and its owner by the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edgemesh.bus.link.sending import Writer
from edgemesh.reactor.reactor import Handler
from edgemesh.reactor.timers import Timer
from edgemesh.wire.link.frames import Hello
from edgemesh.wire.link.opening import Opening

if TYPE_CHECKING:
    from edgemesh.bus.link.link import Link
    from edgemesh.bus.link.stream import Stream

# How far a link has come.
CONNECTING = 0
SHAKING = 1
GREETING = 2
UP = 3
OVER = 4


class Carrier(Writer, Protocol):
    """Who has the connection; called within the reactor's turn."""

    def greeted(self, said: Hello) -> None:
        """The other end says who it is.

        Raises:
            LinkError: it is not.
        """
        ...

    def came_up(self) -> None:
        """Streams may be opened."""
        ...

    def wanted(self, stream: Stream, message: bytes) -> None:
        """The other end wants a stream; `Stream.near` is to be set, or the stream refused.

        Raises:
            LinkError: the message makes no sense.
        """
        ...

    def ponged(self, payload: bytes) -> None:
        """The other end has answered a PING."""
        ...

    def leaving(self, problem: int, reason: str) -> None:
        """The other end opens no more streams."""
        ...

    def at_rest(self) -> None:
        """The last stream is over."""
        ...

    def linger(self, stream: Stream) -> Timer[Handler]:
        """Reset a stream that the other end does not end, after a while."""
        ...


class Owner(Protocol):
    """Who has a link; called within the reactor's turn."""

    def came_up(self, link: Link) -> None:
        """It is known who is at the other end, and streams may be opened."""
        ...

    def went_down(self, link: Link) -> None:
        """It is over, or never came up; `Link.problem` says why."""
        ...

    def changed(self, link: Link) -> None:
        """It is doubted, or believed again, or takes no new streams any more."""
        ...

    def wanted(self, link: Link, stream: Stream, opening: Opening) -> None:
        """The other end wants a stream: its `near` is to be set, or the stream refused."""
        ...


class Takes(Protocol):
    """Who gets the streams that other ends want here."""

    def wanted(self, link: Link, stream: Stream, opening: Opening) -> None:
        """As `Owner.wanted`."""
        ...
