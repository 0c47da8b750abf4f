"""HPACK's static table (RFC 7541 appendix A), for both directions."""

from __future__ import annotations

from hpack.table import HeaderTable

Field = tuple[bytes, bytes]


class SensitiveField(tuple[bytes, bytes]):
    """A field that must never be indexed, by whoever passes it on (RFC 7541 section 6.2.3)."""

    __slots__ = ()


# By index; there is no entry 0.
STATIC_TABLE: tuple[Field, ...] = ((b"", b""), *HeaderTable.STATIC_TABLE)
FIRST_DYNAMIC_INDEX = len(STATIC_TABLE)
# Section 4.1: what an entry counts beyond its text.
ENTRY_OVERHEAD = 32
