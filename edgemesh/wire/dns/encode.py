"""Answers out: sections with compressed names, cut to what the client takes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from edgemesh.wire.dns import codes
from edgemesh.wire.dns.query import HEADER, Query, opt_record
from edgemesh.wire.dns.records import COMPRESSED_TYPES, NAMES_IN_DATA, Content, Record

_FIXED = struct.Struct("!HHIH")
_POINTER = struct.Struct("!H")
# A pointer has 14 bits (RFC 1035 section 4.1.4).
_FARTHEST: Final = 0x3FFF


def encode_response(
    query: Query, content: Content, *, limit: int, authoritative: bool, payload_size: int
) -> bytes:
    """The answer to a client, with whole records only, in their order, as many as fit.

    What does not fit of answer and authority sets the truncation flag; additional records are
    left out without a word (RFC 2181 section 9).

    Args:
        query: whose question is repeated and whose manner of asking is kept to.
        content: what to say.
        limit: the largest message, in bytes; header and question are sent in any case.
        authoritative: whether the name asked for is of our own zone.
        payload_size: our own, told to clients that speak EDNS.
    """
    opt = opt_record(payload_size) if query.payload_size else b""
    head_size = codes.HEADER_BYTES + len(query.question)
    writer = _Writer(query.name, limit - head_size - len(opt))
    answers, truncated = writer.write_all(content.answer)
    authorities = additionals = 0
    if not truncated:
        authorities, truncated = writer.write_all(content.authority)
    if not truncated:
        additionals, _ = writer.write_all(content.additional)
    flags = codes.QR | codes.RA | query.flags | content.rcode
    if authoritative:
        flags |= codes.AA
    if truncated:
        flags |= codes.TC
    header = HEADER.pack(query.identifier, flags, 1, answers, authorities, additionals + bool(opt))
    return b"".join((header, query.question, writer.out, opt))


class _Writer:
    """Writes records behind the question and remembers where each name's endings stand."""

    def __init__(self, query_name: bytes, space: int) -> None:
        self.out = bytearray()
        self._space = space
        self._base = codes.HEADER_BYTES + len(query_name) + 4
        self._places: dict[bytes, int] = {}
        lowered = query_name.lower()
        position = 0
        while lowered[position]:
            self._places[lowered[position:]] = codes.HEADER_BYTES + position
            position += 1 + lowered[position]

    def write_all(self, records: Sequence[Record]) -> tuple[int, bool]:
        """Write records until one does not fit: how many were written, whether some were not."""
        for count, record in enumerate(records):
            before = len(self.out)
            self._write(record)
            if len(self.out) > self._space:
                del self.out[before:]
                return count, True
        return len(records), False

    def _write(self, record: Record) -> None:
        out = self.out
        self._write_name(record.owner)
        header_at = len(out)
        out += bytes(_FIXED.size)
        data_at = len(out)
        if record.type in COMPRESSED_TYPES:
            self._write_compressed_data(record)
        else:
            out += record.data
        _FIXED.pack_into(out, header_at, record.type, codes.IN, record.ttl, len(out) - data_at)

    def _write_compressed_data(self, record: Record) -> None:
        before, count = NAMES_IN_DATA[record.type]
        self.out += record.data[:before]
        position = before
        for _ in range(count):
            end = _name_end(record.data, position)
            self._write_name(record.data[position:end])
            position = end
        self.out += record.data[position:]

    def _write_name(self, name: bytes) -> None:
        lowered = name.lower()
        out = self.out
        position = 0
        while size := lowered[position]:
            place = self._places.get(lowered[position:])
            if place is not None:
                out += _POINTER.pack(0xC000 | place)
                return
            here = self._base + len(out)
            if here <= _FARTHEST:
                self._places[lowered[position:]] = here
            out += name[position : position + 1 + size]
            position += 1 + size
        out.append(0)


def _name_end(data: bytes, position: int) -> int:
    while size := data[position]:
        position += 1 + size
    return position + 1
