"""A header block that is ready to be sent on any stream of any connection."""

from __future__ import annotations

from edgemesh.wire.http2.codes import HEADERS, MAX_FRAME_BYTES


class Block:
    """One encoded header list.

    Attributes:
        data: the block; it refers to no dynamic table.
        length_and_type: the first four bytes of its frame as a number.
        is_long: it needs CONTINUATIONs.
    """

    __slots__ = ("data", "is_long", "length_and_type")

    def __init__(self, data: bytes) -> None:
        """Hold an encoded block."""
        self.data = data
        self.length_and_type = len(data) << 8 | HEADERS
        self.is_long = len(data) > MAX_FRAME_BYTES
