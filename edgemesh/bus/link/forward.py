"""Streams that are passed on from one link to another, with credit from end to end.

What one end sends leaves at once on the other's link as far as that has credit. The sender's credit
for it comes back when the far end gives some, not when it has passed through here: so an end that
reads slowly is felt by the other, and little is ever kept in between.
"""

from __future__ import annotations

import errno
from collections import deque

from edgemesh.bus.link.link import Link
from edgemesh.bus.link.stream import Stream
from edgemesh.wire.link.opening import Opening


def pass_on(stream: Stream, opening: Opening, link: Link) -> None:
    """Let a stream that is wanted here go on by ``link``, which takes one more.

    Raises:
        ValueError: names within the opening are too long.
    """
    here = Half(stream)
    there = Half(link.open(opening._replace(hops=opening.hops + 1), here))
    _pair(here, there)


def join(stream: Stream, onward: Stream) -> None:
    """The same for a stream that was opened for that already."""
    _pair(Half(stream), Half(onward))


def _pair(here: Half, there: Half) -> None:
    here.other, there.other = there, here
    for half in (here, there):
        half.stream.near = half.stream.passing = half


class Half:
    """One of the two streams, and what is to leave on it.

    Attributes:
        stream: on one of the links.
        other: the other half.
    """

    __slots__ = ("_backlog", "_ended", "other", "stream")

    def __init__(self, stream: Stream) -> None:
        """Made by `pass_on`."""
        self.stream = stream
        self.other = self
        self._backlog: deque[bytes] = deque()
        self._ended = False

    # What comes on this stream.

    def opened(self) -> None:
        """The far end has accepted."""
        self.other.stream.accept()

    def refused(self, problem: int, reason: str = "") -> None:
        """The far end has not."""
        self.other.stream.refuse(problem, reason)

    def received(self, data: bytes) -> None:
        """Pass bytes on."""
        self.other.send(data)

    def ended(self) -> None:
        """Pass the end on, behind all bytes."""
        self.other.finish()

    def reset(self, problem: int = errno.ECONNRESET, reason: str = "") -> None:
        """Pass it on at once."""
        self.stream.drop(reset=True)
        self.other.stream.refuse(problem, reason)

    def granted(self, count: int) -> None:
        """The far end takes so many bytes more, so the other may send them."""
        if not self.stream.datagrams:
            self.other.stream.give_back(count)

    # What leaves on it.

    def writable(self) -> None:
        """Go on with what is left."""
        backlog = self._backlog
        while backlog:
            data = backlog[0]
            sent = self.stream.send(data)
            self.other.stream.release(sent)
            if sent < len(data):
                backlog[0] = data[sent:]
                return
            backlog.popleft()
        if self._ended:
            self.stream.end()

    def send(self, data: bytes) -> None:
        """Send what has come on the other stream; what does not leave now is kept."""
        if self.stream.datagrams:
            self.stream.send(data)
            self.other.stream.consumed(len(data))
            return
        sent = 0 if self._backlog else self.stream.send(data)
        self.other.stream.release(sent)
        if sent < len(data):
            self._backlog.append(data[sent:])

    def finish(self) -> None:
        """Nothing more comes on the other stream."""
        self._ended = True
        if not self._backlog:
            self.stream.end()
