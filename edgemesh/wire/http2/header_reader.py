"""From header blocks to validated heads, with what was found out about a block kept.

Clients and servers send the same blocks again and again, and within one generation of the
dynamic table equal blocks mean equal heads. Looking one up costs a hundredth of reading it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from edgemesh.wire.http2.codes import ErrorCode, StreamFault
from edgemesh.wire.http2.hpack_decoder import HpackDecoder
from edgemesh.wire.http2.hpack_table import ENTRY_OVERHEAD, Field

Head = TypeVar("Head")

# How much more than a list may hold is decoded at all, so that one that is somewhat too long
# is refused without an end to the whole connection.
_DECODED_AT_MOST = 4
# What a kept head takes beyond its block, roughly: the decoded fields and the objects.
_HEAD_OVERHEAD = 1024


class TooManyFields(StreamFault):
    """A header list beyond the limits."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.ENHANCE_YOUR_CALM, "the header list is too long")


class CacheBudget:
    """How much all connections together may keep.

    Attributes:
        left: bytes.
    """

    __slots__ = ("left",)

    def __init__(self, size: int) -> None:
        """Begin with ``size`` bytes, all of them left."""
        self.left = size


class HeaderReader(Generic[Head]):
    """One direction of one connection.

    Attributes:
        kept: heads by block, for the caller to look into first.
    """

    __slots__ = (
        "_budget",
        "_bytes_kept",
        "_decoder",
        "_kept_at_most",
        "_list_bytes",
        "_list_fields",
        "_parse",
        "_used_generation",
        "kept",
    )

    def __init__(
        self,
        parse: Callable[[list[Field]], Head],
        budget: CacheBudget,
        *,
        list_bytes: int,
        list_fields: int,
        kept_bytes: int,
    ) -> None:
        """Start with an empty table.

        Args:
            parse: makes a head of a list that is within the limits.
            budget: shared by all connections.
            list_bytes: of one list, counted as by RFC 9113 section 6.5.2.
            list_fields: of one list.
            kept_bytes: of heads that are kept.
        """
        self._decoder = HpackDecoder(_DECODED_AT_MOST * list_bytes)
        self._parse = parse
        self._budget = budget
        self._list_bytes = list_bytes
        self._list_fields = list_fields
        self._kept_at_most = kept_bytes
        self._bytes_kept = 0
        self._used_generation = 0
        self.kept: dict[bytes, Head] = {}

    def read(self, block: bytes) -> Head:
        """The head that a block means, which is not in `kept`.

        Raises:
            ConnectionFault: the block is broken.
            StreamFault: the head is not valid, or too long.
        """
        decoder = self._decoder
        fields = decoder.decode(block)
        changed = decoder.generation != self._used_generation
        if changed:
            # What was kept belongs to a table that never comes back.
            self._used_generation = decoder.generation
            self.forget()
        size = sum(len(name) + len(value) for name, value in fields)
        size += ENTRY_OVERHEAD * len(fields)
        if len(fields) > self._list_fields or size > self._list_bytes:
            raise TooManyFields
        head = self._parse(fields)
        if not changed:
            self._keep(block, head, size)
        return head

    def forget(self) -> None:
        """Give back what is kept, as at the connection's end."""
        self.kept.clear()
        self._budget.left += self._bytes_kept
        self._bytes_kept = 0

    def _keep(self, block: bytes, head: Head, list_size: int) -> None:
        size = 2 * list_size + len(block) + _HEAD_OVERHEAD
        if self._bytes_kept + size > self._kept_at_most:
            self.forget()
        if size <= min(self._kept_at_most, self._budget.left):
            self._bytes_kept += size
            self._budget.left -= size
            self.kept[block] = head
