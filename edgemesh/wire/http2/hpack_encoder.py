"""HPACK without a state (RFC 7541): one encoded block serves every connection.

Fields are written as entries of the static table or as literals without indexing, so a block
means the same on each connection and may be kept and sent again. Never-indexed fields stay so.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgemesh.wire.http2.hpack_table import STATIC_TABLE, Field, SensitiveField

# Section 6.3: "the table is empty from now on"; we never put anything into it.
EMPTY_TABLE_UPDATE = b"\x20"
_INDEXED = 0x80
_NEVER_INDEXED = 0x10

_indices = {field: index for index, field in reversed(list(enumerate(STATIC_TABLE))) if index}
_name_indices = {
    name: index for index, (name, _) in reversed(list(enumerate(STATIC_TABLE))) if index
}


def encode_integer(value: int, prefix_bits: int, pattern: int) -> bytes:
    """Section 5.1; ``pattern`` holds the bits before the prefix."""
    largest = (1 << prefix_bits) - 1
    if value < largest:
        return bytes((pattern | value,))
    octets = bytearray((pattern | largest,))
    value -= largest
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def _text(text: bytes) -> bytes:
    # Plain: Huffman coding would cost more time than its few bytes less take on the wire.
    return encode_integer(len(text), 7, 0) + text


def encode_field(field: Field) -> bytes:
    """One field, name and value as they are."""
    sensitive = isinstance(field, SensitiveField)
    if not sensitive and (index := _indices.get(field)):
        return bytes((_INDEXED | index,))
    name, value = field
    pattern = _NEVER_INDEXED if sensitive else 0
    name_index = _name_indices.get(name)
    if name_index is None:
        return bytes((pattern,)) + _text(name) + _text(value)
    return encode_integer(name_index, 4, pattern) + _text(value)


def encode_block(fields: Iterable[Field]) -> bytes:
    """A whole header block."""
    return b"".join(map(encode_field, fields))
