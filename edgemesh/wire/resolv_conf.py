"""resolv.conf(5): the node's own name servers."""

from __future__ import annotations

import ipaddress
from typing import Final

# MAXNS of glibc's <resolv.h>; what the node's own programs do not ask, we do not ask.
_MOST_NAMESERVERS: Final = 3


def parse_nameservers(text: str) -> tuple[str, ...]:
    """The addresses of the ``nameserver`` lines, in the order of the file.

    As with glibc, malformed lines count for nothing and neither do servers after the third.
    """
    found: list[str] = []
    for line in text.splitlines():
        match line.split():
            case ["nameserver", address, *_]:
                found += _canonical(address)
    return tuple(found[:_MOST_NAMESERVERS])


def _canonical(address: str) -> tuple[str, ...]:
    try:
        return (str(ipaddress.ip_address(address)),)
    except ValueError:
        return ()
