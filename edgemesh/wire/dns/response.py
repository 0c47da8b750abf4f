"""Replies of upstream servers: only what answers the question we asked counts."""

from __future__ import annotations

import struct
from typing import NamedTuple

from edgemesh.wire.dns import codes
from edgemesh.wire.dns.names import FormatError, read_name
from edgemesh.wire.dns.query import HEADER, TYPE_AND_CLASS
from edgemesh.wire.dns.records import Content, Record, read_data

_FIXED = struct.Struct("!HHIH")


class Response(NamedTuple):
    """One reply.

    Args:
        content: code and records; of a truncated reply only the code.
        truncated: whether it is to be asked again over TCP.
        edns: whether the server speaks EDNS.
    """

    content: Content
    truncated: bool
    edns: bool


def parse_response(message: bytes, identifier: int, name: bytes, question_type: int) -> Response:
    """Read the reply to a question.

    The identifier and the question must be ours (RFC 5452 section 9.1); the caller goes on
    waiting when they are not, because anybody can send a datagram.

    Raises:
        FormatError: it is not the reply to this question or it is malformed.
    """
    if len(message) < codes.HEADER_BYTES:
        raise FormatError("shorter than a header")
    identifier_back, flags, questions, *counts = HEADER.unpack_from(message)
    if identifier_back != identifier or not flags & codes.QR or flags & codes.OPCODE_MASK:
        raise FormatError("not the reply to our query")
    rcode = flags & codes.RCODE_MASK
    if questions == 0 and rcode == codes.FORMERR:
        # A server that does not understand the query need not repeat it (RFC 6891 section 7).
        return Response(Content(rcode), truncated=False, edns=False)
    if questions != 1:
        raise FormatError("not exactly one question")
    name_back, position = read_name(message, codes.HEADER_BYTES)
    asked = name_back.lower() + message[position : position + TYPE_AND_CLASS.size]
    if asked != name.lower() + TYPE_AND_CLASS.pack(question_type, codes.IN):
        raise FormatError("the reply to another question")
    if flags & codes.TC:
        return Response(Content(rcode), truncated=True, edns=False)
    return _read_sections(message, position + TYPE_AND_CLASS.size, rcode, counts)


def _read_sections(message: bytes, position: int, rcode: int, counts: list[int]) -> Response:
    sections: list[tuple[Record, ...]] = []
    edns = False
    for count in counts:
        records = []
        for _ in range(count):
            record, record_class, position = _read_record(message, position)
            if record.type == codes.OPT:
                edns = True
                # The upper bits of the response code (RFC 6891 section 6.1.3).
                rcode |= record.ttl >> 24 << 4
            elif record_class == codes.IN:
                records.append(record)
        sections.append(tuple(records))
    if position != len(message):
        raise FormatError("bytes behind the last record")
    return Response(Content(rcode, *sections), truncated=False, edns=edns)


def _read_record(message: bytes, position: int) -> tuple[Record, int, int]:
    owner, position = read_name(message, position)
    data_at = position + _FIXED.size
    if data_at > len(message):
        raise FormatError("a record is cut off")
    record_type, record_class, ttl, size = _FIXED.unpack_from(message, position)
    end = data_at + size
    if end > len(message):
        raise FormatError("the data of a record is cut off")
    data = read_data(message, data_at, size, record_type)
    if record_type != codes.OPT and ttl >> 31:
        # "Treated as if the entire value received was zero" (RFC 2181 section 8).
        ttl = 0
    return Record(owner, record_type, ttl, data), record_class, end
