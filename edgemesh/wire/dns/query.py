"""Queries: those of clients in, our own out."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from edgemesh.wire.dns import codes
from edgemesh.wire.dns.names import FormatError, read_name

HEADER: Final = struct.Struct("!6H")
TYPE_AND_CLASS: Final = struct.Struct("!2H")
# Name (root), type, payload size, extended code and version, flags, data length.
_OPT = struct.Struct("!BHHBBHH")


class Query(NamedTuple):
    """One question of a client.

    Args:
        identifier: to be given back.
        flags: those of the query that the answer repeats: RD and CD.
        question: name, type and class as they were sent, to be repeated in the same case.
        name: canonical.
        type: of the record asked for.
        payload_size: what the client takes over UDP, 0 when it does not speak EDNS.
    """

    identifier: int
    flags: int
    question: bytes
    name: bytes
    type: int
    payload_size: int


class BadQueryError(FormatError):
    """A message that is no query we take.

    Args:
        problem: what is wrong with it.
        reply: what to send back, empty when nothing may be sent.
    """

    def __init__(self, problem: str, reply: bytes = b"") -> None:
        super().__init__(problem)
        self.reply = reply


def opt_record(payload_size: int, extended_code: int = 0) -> bytes:
    """Our OPT record, which closes a message with EDNS (RFC 6891 section 6.1.2)."""
    return _OPT.pack(0, codes.OPT, payload_size, extended_code, 0, 0, 0)


def parse_query(message: bytes) -> Query:
    """Read a client's query: one question of class IN and at most one OPT record, nothing else.

    Raises:
        BadQueryError: it is anything else; what to answer is in the error. A reply is never
            answered, so that two servers cannot keep each other busy.
    """
    if len(message) < codes.HEADER_BYTES:
        raise BadQueryError("shorter than a header")
    identifier, flags, questions, answers, authorities, additionals = HEADER.unpack_from(message)
    if flags & codes.QR:
        raise BadQueryError("a reply where a query belongs")
    if flags & codes.OPCODE_MASK:
        raise BadQueryError("not a standard query", _refusal(identifier, flags, codes.NOTIMP))
    try:
        name, end = _read_question(message, (questions, answers, authorities))
        payload_size, version = _read_opt(message, end, additionals)
    except FormatError as error:
        raise BadQueryError(str(error), _refusal(identifier, flags, codes.FORMERR)) from error
    question_type, question_class = TYPE_AND_CLASS.unpack_from(message, end - TYPE_AND_CLASS.size)
    question = message[codes.HEADER_BYTES : end]
    query = Query(
        identifier,
        flags & (codes.RD | codes.CD),
        question,
        name.lower(),
        question_type,
        payload_size,
    )
    if version:
        raise BadQueryError(
            f"EDNS version {version}", _refusal(identifier, flags, codes.BADVERS, question)
        )
    if question_class != codes.IN or question_type in codes.REFUSED_TYPES:
        raise BadQueryError(
            "a class or type that is not served",
            _refusal(identifier, flags, codes.REFUSED, question),
        )
    return query


def _read_question(message: bytes, counts: tuple[int, int, int]) -> tuple[bytes, int]:
    """The name, and the offset behind the question that it, a type and a class make."""
    if counts != (1, 0, 0):
        raise FormatError("not exactly one question")
    name, position = read_name(message, codes.HEADER_BYTES)
    end = position + TYPE_AND_CLASS.size
    if end > len(message):
        raise FormatError("the question is cut off")
    return name, end


def _read_opt(message: bytes, position: int, additionals: int) -> tuple[int, int]:
    """The client's payload size (0 without EDNS) and EDNS version; nothing may follow."""
    if additionals == 0:
        if position != len(message):
            raise FormatError("bytes behind the question")
        return 0, 0
    if additionals > 1:
        raise FormatError("more than one additional record")
    if position + _OPT.size > len(message):
        raise FormatError("the additional record is cut off")
    root, kind, payload_size, _, version, _, size = _OPT.unpack_from(message, position)
    if root != 0 or kind != codes.OPT:
        raise FormatError("an additional record that is not OPT")
    if position + _OPT.size + size != len(message):
        raise FormatError("the OPT record has another size than it says")
    # Smaller values mean 512 (RFC 6891 section 6.2.3).
    return max(payload_size, codes.SMALLEST_PAYLOAD), version


def _refusal(identifier: int, flags: int, rcode: int, question: bytes = b"") -> bytes:
    repeated = flags & (codes.OPCODE_MASK | codes.RD | codes.CD)
    extended = rcode >> 4
    header = HEADER.pack(
        identifier,
        codes.QR | repeated | (rcode & codes.RCODE_MASK),
        1 if question else 0,
        0,
        0,
        1 if extended else 0,
    )
    opt = opt_record(codes.SMALLEST_PAYLOAD, extended) if extended else b""
    return header + question + opt


def encode_query(identifier: int, name: bytes, question_type: int, payload_size: int) -> bytes:
    """A query of our own, recursion desired, with EDNS unless ``payload_size`` is 0."""
    header = HEADER.pack(identifier, codes.RD, 1, 0, 0, 1 if payload_size else 0)
    question = name + TYPE_AND_CLASS.pack(question_type, codes.IN)
    return header + question + (opt_record(payload_size) if payload_size else b"")
