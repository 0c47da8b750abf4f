"""Under which addresses other nodes may reach this one's links."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from edgemesh.wire.host_port import joined, parse_host_port


def link_addresses(
    listen: Sequence[str], named: Sequence[str], local: Sequence[str]
) -> tuple[str, ...]:
    """The addresses to tell, best first.

    Args:
        listen: ``address:port`` of each listener; of a wildcard, every local address counts.
        named: ``address`` or ``address:port``; where there are any, only these count.
        local: addresses of the interface that leads to the cloud.

    Returns:
        ``address:port`` each, none of them twice.

    Raises:
        ValueError: one of the first two is malformed.
    """
    listeners = [parse_host_port(each) for each in listen]
    if named:
        default = listeners[0][1] if listeners else 0
        found = [joined(*parse_host_port(each, default)) for each in named]
        return tuple(dict.fromkeys(found))
    reached: dict[str, None] = {}
    for address, port in listeners:
        reached |= dict.fromkeys(joined(each, port) for each in _behind(address, local))
    return tuple(reached)


def _behind(address: str, local: Sequence[str]) -> list[str]:
    """The addresses that a listener can be reached under."""
    listener = ipaddress.ip_address(address)
    if not listener.is_unspecified:
        return [address]
    return [each for each in local if ipaddress.ip_address(each).version == listener.version]
