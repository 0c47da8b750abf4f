"""Resource records and their data."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from edgemesh.wire.dns import codes
from edgemesh.wire.dns.names import FormatError, read_name

# Where names stand in the data of a type: bytes before them, how many names. These are the
# types whose names a receiver has to decompress (RFC 3597 section 4).
NAMES_IN_DATA: Final = {
    codes.NS: (0, 1),
    codes.CNAME: (0, 1),
    codes.SOA: (0, 2),
    codes.PTR: (0, 1),
    codes.MX: (2, 1),
    codes.RP: (0, 2),
    codes.AFSDB: (2, 1),
    codes.SRV: (6, 1),
    codes.DNAME: (0, 1),
}
# Those whose names a sender may compress: the ones of RFC 1035 only (RFC 3597 section 4).
COMPRESSED_TYPES: Final = frozenset({codes.NS, codes.CNAME, codes.SOA, codes.PTR, codes.MX})

_SRV = struct.Struct("!3H")
_SOA_NUMBERS = struct.Struct("!5I")


class Record(NamedTuple):
    """One record of class IN.

    Args:
        owner: its name.
        type: its type's number.
        ttl: in seconds.
        data: with all names uncompressed.
    """

    owner: bytes
    type: int
    ttl: int
    data: bytes


class Content(NamedTuple):
    """What an answer says: the response code and the three sections behind the question."""

    rcode: int
    answer: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()


SERVER_FAILURE: Final = Content(codes.SERVFAIL)


def address_record(owner: bytes, ttl: int, address: str) -> Record:
    """An A or AAAA record, by the family of the address (RFC 1035 3.4.1, RFC 3596 2.2)."""
    if ":" in address:
        return Record(owner, codes.AAAA, ttl, IPv6Address(address).packed)
    return Record(owner, codes.A, ttl, IPv4Address(address).packed)


def cname_record(owner: bytes, ttl: int, target: bytes) -> Record:
    """An alias (RFC 1035 section 3.3.1)."""
    return Record(owner, codes.CNAME, ttl, target)


def ptr_record(owner: bytes, ttl: int, target: bytes) -> Record:
    """A pointer from an address's name (RFC 1035 section 3.3.12)."""
    return Record(owner, codes.PTR, ttl, target)


def srv_record(owner: bytes, ttl: int, port: int, target: bytes) -> Record:
    """A service's port and host; all of equal priority and weight (RFC 2782)."""
    return Record(owner, codes.SRV, ttl, _SRV.pack(0, 100, port) + target)


def txt_record(owner: bytes, ttl: int, text: bytes) -> Record:
    """One character string of at most 255 bytes (RFC 1035 section 3.3.14)."""
    return Record(owner, codes.TXT, ttl, bytes((len(text),)) + text)


def soa_record(
    owner: bytes, ttl: int, *, server: bytes, mailbox: bytes, serial: int, minimum: int
) -> Record:
    """A zone's start; ``minimum`` is the TTL of denials (RFC 2308 section 4).

    Refresh, retry and expire are for secondary servers, of which there are none.
    """
    numbers = _SOA_NUMBERS.pack(serial & 0xFFFFFFFF, 7200, 1800, 86400, minimum)
    return Record(owner, codes.SOA, ttl, server + mailbox + numbers)


def soa_minimum(record: Record) -> int:
    """The last number of an SOA record's data, which ``read_data`` has found complete."""
    return int.from_bytes(record.data[-4:], "big")


def read_data(message: bytes, offset: int, size: int, record_type: int) -> bytes:
    """The data of a record with its names uncompressed.

    Raises:
        FormatError: a name in it is wrong or leads outside the data.
    """
    layout = NAMES_IN_DATA.get(record_type)
    if layout is None:
        return message[offset : offset + size]
    before, count = layout
    end = offset + size
    parts = [message[offset : offset + before]]
    position = offset + before
    for _ in range(count):
        name, position = read_name(message, position)
        if position > end:
            raise FormatError("a name leaves the data of its record")
        parts.append(name)
    rest = message[position:end]
    if len(rest) != (_SOA_NUMBERS.size if record_type == codes.SOA else 0):
        raise FormatError("a record's data has the wrong size")
    return b"".join((*parts, rest))
