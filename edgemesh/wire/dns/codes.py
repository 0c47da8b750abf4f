"""Numbers of the DNS protocol, named as in the registry of RFC 6895."""

from __future__ import annotations

from typing import Final

# Types (RFC 1035 section 3.2.2, RFC 3596, RFC 2782, RFC 6672, RFC 6891).
A: Final = 1
NS: Final = 2
CNAME: Final = 5
SOA: Final = 6
PTR: Final = 12
MX: Final = 15
TXT: Final = 16
RP: Final = 17
AFSDB: Final = 18
AAAA: Final = 28
SRV: Final = 33
DNAME: Final = 39
OPT: Final = 41
ANY: Final = 255
# Not data that a resolver gives: OPT, TKEY, TSIG, IXFR, AXFR, MAILB, MAILA.
REFUSED_TYPES: Final = frozenset({OPT, 249, 250, 251, 252, 253, 254})

# Class.
IN: Final = 1

# Response codes; BADVERS is an extended one (RFC 6891 section 6.1.3).
NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5
BADVERS: Final = 16

# Header flags (RFC 1035 section 4.1.1, RFC 4035 section 3.2.2).
QR: Final = 0x8000
OPCODE_MASK: Final = 0x7800
AA: Final = 0x0400
TC: Final = 0x0200
RD: Final = 0x0100
RA: Final = 0x0080
CD: Final = 0x0010
RCODE_MASK: Final = 0x000F

HEADER_BYTES: Final = 12
# What every client takes over UDP (RFC 1035 section 2.3.4).
SMALLEST_PAYLOAD: Final = 512
# What the two length bytes of TCP can say (RFC 1035 section 4.2.2).
LARGEST_MESSAGE: Final = 65535
