"""Flow control of a link: how much may be sent, and when credit is given back.

Each direction of a stream has a window, and so have all streams of a link together. What was sent
uses up credit, what was read at the other end gives it back: for a stream when half of its window
is due, so that a conversation of small messages costs no frames for it.

A stream that nobody reads keeps its share of the link's window for as long as it likes. So that
such ones never use up the credit of their neighbours, half of a link's window is held back: a
small reserve of it for every stream that there can be. The other half is for all; the less is left
of it, the less a stream may have under way, so that it is never one after the other that takes all
there is. While the receiver keeps much unread it gives credit back at once: what it has read must
not look like unread to the sender, who would then wait for ever.
"""

from __future__ import annotations

from edgemesh.wire.link.frames import LinkError, Violation

# Shares of a link's window. The sender's are larger than the receiver's: who is short of credit
# must always have a receiver who knows it.
_BATCHES = 16
_PRESSED = 8
_RELIEVED = 16
_PLENTY_LEFT = (3, 4)
_RESERVED = (7, 16)


class Outgoing:
    """What may be sent on a stream.

    Attributes:
        window: its size, in bytes.
        left: bytes that may be sent now.
    """

    __slots__ = ("left", "window")

    def __init__(self, window: int) -> None:
        """Have all of it left."""
        self.window = window
        self.left = window

    def take(self, count: int) -> None:
        """Note that ``count`` bytes were sent, no more than are left."""
        self.left -= count

    def grant(self, count: int) -> None:
        """Have credit back from the receiver.

        Raises:
            LinkError: it is more than was sent.
        """
        left = self.left + count
        if left > self.window:
            raise LinkError(Violation.TOO_MUCH_CREDIT, f"{left} bytes of a window of {self.window}")
        self.left = left


class LinkOutgoing(Outgoing):
    """What may be sent on all streams of a link together."""

    __slots__ = ("_common", "_plenty", "reserve")

    def __init__(self, window: int, streams: int) -> None:
        """Share ``window`` bytes among up to ``streams`` streams."""
        super().__init__(window)
        self._common = window // 2
        self._plenty = window * _PLENTY_LEFT[0] // _PLENTY_LEFT[1]
        self.reserve = max(window * _RESERVED[0] // _RESERVED[1] // streams, 1)

    def room(self, stream: Outgoing) -> int:
        """How many bytes may be sent on ``stream`` now."""
        most = self.left - self._common
        if self.left < self._plenty:
            most = self._short_room(stream, most)
        return min(most, stream.left)

    def _short_room(self, stream: Outgoing, common: int) -> int:
        """The same where there is not plenty; ``common`` is what is left for all."""
        under_way = stream.window - stream.left
        reserved = self.reserve - under_way
        if common <= 0:
            return max(min(reserved, self.left), 0)
        allowed = 2 * stream.window * common // (self.window - self._common) - under_way
        return max(min(allowed, common), min(reserved, self.left), 0)


class Incoming:
    """What the other end may send on a stream.

    Attributes:
        held: bytes that have come and were not read.
    """

    __slots__ = ("_batch", "_due", "_left", "held")

    def __init__(self, window: int, batches: int = 2) -> None:
        """Give credit back by so many shares of ``window``."""
        self._left = window
        self._batch = max(window // batches, 1)
        self._due = 0
        self.held = 0

    def received(self, count: int) -> None:
        """Note that so many bytes have come.

        Raises:
            LinkError: there was no credit for them.
        """
        self._left -= count
        if self._left < 0:
            raise LinkError(Violation.WINDOW_EXCEEDED, f"by {-self._left} bytes")
        self.held += count

    def consumed(self, count: int) -> int:
        """Note that so many of them were read; how much credit is to be given back now, or 0."""
        self.held -= count
        self._due += count
        return self.due() if self._due >= self._batch else 0

    def due(self) -> int:
        """All the credit that can be given back, which the caller does."""
        due, self._due = self._due, 0
        self._left += due
        return due


class LinkIncoming(Incoming):
    """What the other end may send on all streams of a link together.

    Attributes:
        pressed: much is kept unread, so credit of streams is to be given back at once.
    """

    __slots__ = ("_many", "_relief", "pressed")

    def __init__(self, window: int) -> None:
        """Nothing is kept yet."""
        super().__init__(window, _BATCHES)
        self._many = window // _PRESSED
        self._relief = window // _RELIEVED
        self.pressed = False

    def presses(self) -> bool:
        """Whether `pressed` begins now: all credit of streams that is due is to be given back."""
        if self.pressed:
            self.pressed = self.held >= self._relief
        elif self.held >= self._many:
            self.pressed = True
            return True
        return False
