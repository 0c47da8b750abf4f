"""HPACK decoding (RFC 7541), for hostile blocks as much as for usual ones.

The hpack library decodes a literal by copying the rest of the block, so that a block of many
short ones takes time by the square of its length; this one looks at every byte once.
"""

from __future__ import annotations

from functools import lru_cache

from edgemesh.wire.http2.codes import ConnectionFault, ErrorCode
from edgemesh.wire.http2.hpack_table import (
    ENTRY_OVERHEAD,
    FIRST_DYNAMIC_INDEX,
    STATIC_TABLE,
    Field,
    SensitiveField,
)
from edgemesh.wire.http2.huffman import NotHuffman, decode_huffman

# What we announce by announcing nothing (RFC 9113 section 6.5.2).
TABLE_BYTES = 4096
# Beyond it an index or a length could only be an attack; section 5.1 asks for such a limit.
_INTEGER_OCTETS = 4
# Section 4.2 has two of them, the smallest and the last size since the previous block; the
# hpack library writes all that there were.
_MOST_SIZE_UPDATES = 16
_KEPT_TEXTS = 4096
_KEPT_TEXT_BYTES = 128


class HpackDecoder:
    """The state of one direction of one connection.

    Attributes:
        generation: rises with every change of the dynamic table: within one, equal blocks
            mean equal fields.
    """

    __slots__ = ("_entries", "_limit", "_list_limit", "_size", "generation")

    def __init__(self, list_limit: int) -> None:
        """Start with an empty table.

        Args:
            list_limit: bytes of one decoded list, counted as by RFC 9113 section 6.5.2.
        """
        # The newest entry is the last, so index FIRST_DYNAMIC_INDEX is entry -1.
        self._entries: list[Field] = []
        self._size = 0
        self._limit = TABLE_BYTES
        self._list_limit = list_limit
        self.generation = 0

    def decode(self, block: bytes) -> list[Field]:
        """The fields of one complete block.

        Raises:
            ConnectionFault: the block is broken, or its list is longer than the limit; the
                table is of no use any more then.
        """
        fields: list[Field] = []
        position, end = 0, len(block)
        room = self._list_limit
        updates = 0
        while position < end:
            first = block[position]
            position += 1
            if first & 0x80:  # section 6.1: an entry of the table
                index = first & 0x7F
                if index == 0x7F:
                    index, position = _integer(block, position, index)
                field = self._entry(index)
            elif first & 0xE0 == 0x20:  # section 6.3: a new size of the table
                updates += 1
                if fields or updates > _MOST_SIZE_UPDATES:
                    raise _broken("a table size update out of place")
                size = first & 0x1F
                if size == 0x1F:
                    size, position = _integer(block, position, size)
                self._resize(size)
                continue
            else:  # section 6.2: a literal
                largest = 0x3F if first & 0x40 else 0x0F
                index = first & largest
                if index == largest:
                    index, position = _integer(block, position, index)
                if index:
                    name = self._entry(index)[0]
                else:
                    name, position = _text(block, position)
                value, position = _text(block, position)
                field = (name, value)
                if first & 0x40:
                    self._add(field)
                elif first & 0x10:
                    field = SensitiveField(field)
            fields.append(field)
            room -= len(field[0]) + len(field[1]) + ENTRY_OVERHEAD
            if room < 0:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header list without end")
        return fields

    def _entry(self, index: int) -> Field:
        if index < FIRST_DYNAMIC_INDEX:
            if index:
                return STATIC_TABLE[index]
        elif index - FIRST_DYNAMIC_INDEX < len(self._entries):
            return self._entries[FIRST_DYNAMIC_INDEX - 1 - index]
        raise _broken(f"no entry {index} in the header table")

    def _add(self, field: Field) -> None:
        # Section 4.4: an entry larger than the table empties it.
        self.generation += 1
        self._entries.append(field)
        self._size += len(field[0]) + len(field[1]) + ENTRY_OVERHEAD
        if self._size > self._limit:
            self._evict()

    def _resize(self, size: int) -> None:
        if size > TABLE_BYTES:
            raise _broken("a table larger than was allowed")
        if size != self._limit:
            self.generation += 1
            self._limit = size
            self._evict()

    def _evict(self) -> None:
        entries = self._entries
        count = 0
        while self._size > self._limit:
            name, value = entries[count]
            self._size -= len(name) + len(value) + ENTRY_OVERHEAD
            count += 1
        del entries[:count]


def _broken(reason: str) -> ConnectionFault:
    return ConnectionFault(ErrorCode.COMPRESSION_ERROR, reason)


def _integer(block: bytes, position: int, prefix: int) -> tuple[int, int]:
    """Section 5.1, after a prefix that is full; the number and where it ends."""
    value, shift = prefix, 0
    for octet in block[position : position + _INTEGER_OCTETS]:
        position += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, position
        shift += 7
    raise _broken("a number that is cut off or too large")


def _text(block: bytes, position: int) -> tuple[bytes, int]:
    """Section 5.2; the text and where it ends."""
    if position >= len(block):
        raise _broken("a block that is cut off")
    first = block[position]
    length = first & 0x7F
    position += 1
    if length == 0x7F:
        length, position = _integer(block, position, length)
    end = position + length
    if end > len(block):
        raise _broken("a text that is cut off")
    text = block[position:end]
    if first & 0x80:
        text = _kept_huffman(text) if length <= _KEPT_TEXT_BYTES else _huffman(text)
    return text, end


def _huffman(text: bytes) -> bytes:
    try:
        return decode_huffman(text)
    except NotHuffman as error:
        raise _broken("a text that is no Huffman code") from error


# The same names and values come again and again, also where nothing is put into the table.
_kept_huffman = lru_cache(_KEPT_TEXTS)(_huffman)
