"""What links have carried, for metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgemesh.bus.link.link import Link


class LinkCounts:
    """Sums over links.

    Attributes:
        links: that have come up.
        lost: of these, those that did not end in order.
        streams: that were opened, by either end.
        bytes_in, bytes_out: of the connections, TLS included.
        dropped_datagrams: for lack of credit or room.
    """

    __slots__ = ("bytes_in", "bytes_out", "dropped_datagrams", "links", "lost", "streams")

    def __init__(self) -> None:
        """Count from zero."""
        self.links = 0
        self.lost = 0
        self.streams = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.dropped_datagrams = 0

    def add(self, link: Link) -> None:
        """Add what one link has carried so far."""
        self.links += link.mux.greeted is not None
        self.lost += link.mux.greeted is not None and bool(link.problem)
        self.streams += link.mux.opened
        self.bytes_in += link.secured.bytes_in
        self.bytes_out += link.secured.bytes_out
        self.dropped_datagrams += link.mux.sender.dropped_datagrams

    def copy(self) -> LinkCounts:
        """The same sums, to be added to."""
        other = LinkCounts()
        other.links = self.links
        other.lost = self.lost
        other.streams = self.streams
        other.bytes_in = self.bytes_in
        other.bytes_out = self.bytes_out
        other.dropped_datagrams = self.dropped_datagrams
        return other
