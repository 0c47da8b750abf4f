"""What a field of a header list may be (RFC 9113 section 8.2), and how it is passed on.

Fields repeat, also in lists that do not: what is found out about one is kept, with the bytes
that encode it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache

from edgemesh.wire.http2.codes import ErrorCode, StreamFault
from edgemesh.wire.http2.hpack_encoder import encode_field
from edgemesh.wire.http2.hpack_table import Field

# RFC 9110 section 5.6.2 (token), without capitals: RFC 9113 section 8.2.1.
_NAME_OCTETS = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
# RFC 9110 section 5.5: visible characters, obs-text, and space and tab in between.
_VALUE_OCTETS = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_BLANKS = b" \t"

# Section 8.2.2: they speak of one connection, and HTTP/2 has its own way to say it.
_CONNECTION_SPECIFIC = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
# What a server behind us could mistake "_" for "-" in, to the harm of others.
_NEVER_WITH_UNDERSCORE = _CONNECTION_SPECIFIC | {b"content-length", b"host", b"te"}
_SINGLE = frozenset({b"content-length", b"host"})
_NOTED = frozenset({b"content-type", b"grpc-timeout", b"grpc-status"})

_KEPT_FIELDS = 4096
_KEPT_FIELD_BYTES = 256


class Malformed(StreamFault):
    """Section 8.1.1: a message that is none."""

    def __init__(self, reason: str) -> None:
        super().__init__(ErrorCode.PROTOCOL_ERROR, reason)


class _Role(IntEnum):
    """What a field is to whoever reads the list."""

    PLAIN = 0
    PSEUDO = 1
    SINGLE = 2  # must not come twice
    NOTED = 3  # its first value is wanted


@dataclass(slots=True)
class FieldList:
    """A header list that was looked at.

    Attributes:
        pseudo: pseudo-header fields by name.
        noted: values that say something to a proxy, by name.
        encoded: each field for a block, in order.
    """

    pseudo: dict[bytes, bytes] = field(default_factory=dict)
    noted: dict[bytes, bytes] = field(default_factory=dict)
    encoded: list[bytes] = field(default_factory=list)


def read_fields(fields: Iterable[Field], pseudo_allowed: frozenset[bytes]) -> FieldList:
    """Look at each field and at their order.

    Args:
        fields: as they were decoded.
        pseudo_allowed: pseudo-header fields that such a list may have.

    Raises:
        Malformed: the list breaks a rule.
    """
    found = FieldList()
    pseudo, noted = found.pseudo, found.noted
    add = found.encoded.append
    regular = False
    for item in fields:
        name, value = item
        if len(name) + len(value) <= _KEPT_FIELD_BYTES and type(item) is tuple:
            encoded, role = _kept_check(item)
        else:
            encoded, role = _check(item)
        add(encoded)
        if role is _Role.PSEUDO:
            if regular:
                raise Malformed("a pseudo-header field after others")
            if name not in pseudo_allowed:
                raise Malformed("a pseudo-header field that has no place here")
            if name in pseudo:
                raise Malformed("a pseudo-header field that comes twice")
            pseudo[name] = value
            continue
        regular = True
        if role is not _Role.PLAIN:
            if role is _Role.SINGLE and name in noted:
                raise Malformed(f"{name.decode()} comes twice")
            noted.setdefault(name, value)
    return found


def content_length(noted: dict[bytes, bytes]) -> int:
    """The declared length of the body, -1 when there is none.

    Raises:
        Malformed: it is no number (RFC 9110 section 8.6).
    """
    text = noted.get(b"content-length")
    if text is None:
        return -1
    if not text.isdigit() or len(text) > 18:
        raise Malformed("content-length is no number")
    return int(text)


def _check(item: Field) -> tuple[bytes, _Role]:
    """How a field is encoded, and its role."""
    name, value = item
    # What is left without allowed octets: faster by far than a regular expression.
    if value.translate(None, _VALUE_OCTETS) or value.strip(_BLANKS) != value:
        raise Malformed("a value with a character that has no place there")
    if name[:1] == b":":
        return encode_field(item), _Role.PSEUDO
    if not name or name.translate(None, _NAME_OCTETS):
        raise Malformed("a name with a character that has no place there")
    role = _Role.PLAIN
    if name in _CONNECTION_SPECIFIC:
        raise Malformed(f"{name.decode()} has no place in HTTP/2")
    if name == b"te" and value != b"trailers":
        raise Malformed("te says something else than trailers")
    if b"_" in name and name.replace(b"_", b"-") in _NEVER_WITH_UNDERSCORE:
        raise Malformed(f"{name.decode()} could be mistaken")
    if name in _SINGLE:
        role = _Role.SINGLE
    elif name in _NOTED:
        role = _Role.NOTED
    return encode_field(item), role


_kept_check = lru_cache(_KEPT_FIELDS)(_check)
