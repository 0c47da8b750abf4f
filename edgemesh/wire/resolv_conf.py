"""resolv.conf(5): the node's own name servers."""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple

# MAXNS of glibc's <resolv.h>; what the node's own programs do not ask, we do not ask.
_MOST_NAMESERVERS: Final = 3


class ResolvConf(NamedTuple):
    """What is used of the file.

    Args:
        nameservers: addresses, in the order of the file.
        search: domains to complete short names with.
    """

    nameservers: tuple[str, ...]
    search: tuple[str, ...]


def parse_resolv_conf(text: str) -> ResolvConf:
    """Read the file as glibc does: unknown and malformed lines count for nothing.

    The last of ``search`` and ``domain`` lines is in force.
    """
    nameservers: list[str] = []
    search: tuple[str, ...] = ()
    for line in text.splitlines():
        keyword, *values = line.split() or ("",)
        if keyword == "nameserver" and values and len(nameservers) < _MOST_NAMESERVERS:
            nameservers += _address(values[0])
        elif keyword == "search":
            search = tuple(values)
        elif keyword == "domain":
            search = tuple(values[:1])
    return ResolvConf(tuple(nameservers), search)


def _address(text: str) -> tuple[str, ...]:
    try:
        return (str(ipaddress.ip_address(text)),)
    except ValueError:
        return ()
