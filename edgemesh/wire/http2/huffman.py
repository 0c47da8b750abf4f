"""HPACK's Huffman code (RFC 7541 section 5.2 and appendix B), an octet at a time.

hpack's decoder takes half an octet at a time and a microsecond for each octet, so that a client
could keep us busy with little. Its table is composed here to whole octets, state by state as
states are met; all of them together take some megabytes.
"""

from __future__ import annotations

from hpack.huffman_table import (
    HUFFMAN_COMPLETE,
    HUFFMAN_EMIT_SYMBOL,
    HUFFMAN_FAIL,
    HUFFMAN_TABLE,
)

_STATES = 256
# Of a state, by octet: the next state, what is decoded, and whether a text may end there;
# nothing is decoded of an octet that breaks the code.
_Row = list[tuple["_Row", bytes | None, int]]

_rows: list[_Row] = [[] for _ in range(_STATES)]


class NotHuffman(ValueError):  # noqa: N818 - a fact about a text, not about us
    """A text that is not of the code, or is cut off, or padded wrongly."""


def decode_huffman(text: bytes) -> bytes:
    """What a text stands for.

    Raises:
        NotHuffman: it stands for nothing.
    """
    row = _rows[0]
    may_end = 1
    decoded: list[bytes] = []
    for octet in text:
        if not row:
            _fill(row)
        row, symbols, may_end = row[octet]
        if symbols is None:
            raise NotHuffman
        decoded.append(symbols)
    if not may_end:
        raise NotHuffman
    return b"".join(decoded)


def _fill(row: _Row) -> None:
    """Compose the two steps that hpack's table takes for each octet."""
    state = next(number for number, known in enumerate(_rows) if known is row)
    for octet in range(256):
        middle, first_flags, first = HUFFMAN_TABLE[state * 16 + (octet >> 4)]
        after, flags, second = HUFFMAN_TABLE[middle * 16 + (octet & 0x0F)]
        if (first_flags | flags) & HUFFMAN_FAIL:
            row.append((row, None, 0))
            continue
        symbols = bytes((first,)) if first_flags & HUFFMAN_EMIT_SYMBOL else b""
        if flags & HUFFMAN_EMIT_SYMBOL:
            symbols += bytes((second,))
        row.append((_rows[after], symbols, flags & HUFFMAN_COMPLETE))
