"""Names that stand for addresses, under in-addr.arpa (RFC 1035 3.5) and ip6.arpa (RFC 3596 2.5)."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from edgemesh.wire.dns.names import to_labels

_IPV4: Final = (b"in-addr", b"arpa")
_IPV6: Final = (b"ip6", b"arpa")
_OCTET: Final = re.compile(rb"[1-9]?[0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]")
_NIBBLE: Final = re.compile(rb"[0-9a-f]")


def address_of(name: bytes) -> str | None:
    """The canonical text of the address that a canonical name stands for, None for others."""
    labels = to_labels(name)
    zone, digits = labels[-2:], labels[-3::-1]
    if zone == _IPV4 and len(digits) == 4 and all(map(_OCTET.fullmatch, digits)):
        return b".".join(digits).decode("ascii")
    if zone == _IPV6 and len(digits) == 32 and all(map(_NIBBLE.fullmatch, digits)):
        return str(ipaddress.IPv6Address(int(b"".join(digits), 16)))
    return None
