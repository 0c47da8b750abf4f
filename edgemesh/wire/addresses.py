"""One spelling for each address, so that equal addresses are equal text."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import Literal

# The only spelling of IPv4 that is taken, and most addresses: no need to parse them.
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_CANONICAL_IPV4 = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")


def canonical_address(text: str) -> str:
    """The address as the kernel spells it.

    Args:
        text: an IPv4 or IPv6 address. An IPv4-mapped one (RFC 4291, 2.5.5.2) is the IPv4
            address that it stands for: that is what goes over the wire.

    Raises:
        ValueError: it is no address, or has a zone (``fe80::1%eth0``), which means something
            on one node only.
    """
    if _CANONICAL_IPV4.fullmatch(text):
        return text
    address = ip_address(text)
    # IPv4 has one spelling.
    assert isinstance(address, IPv6Address)
    if address.scope_id is not None:
        raise ValueError(f"{text!r} has a zone")
    return str(address.ipv4_mapped or address)


def family_of(text: str) -> Literal["IPv4", "IPv6"]:
    """The family of an address, told as Kubernetes spells it; IPv4-mapped is IPv4.

    Raises:
        ValueError: it is no address.
    """
    return "IPv6" if ":" in canonical_address(text) else "IPv4"
