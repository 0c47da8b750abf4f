"""Ask the kernel where it would send a packet."""

from __future__ import annotations

import socket

from edgemesh.kernel.iproute import IPRoute, NetlinkError

_RTN_LOCAL = 2


def delivered_here(address: str, mark: int) -> bool:
    """Whether a packet to an address that bears a mark is delivered on this host.

    Blocks for a netlink round trip: call it in a thread.

    Args:
        address: IPv4 or IPv6 text.
        mark: of the packet, as rules of policy routing see it.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with IPRoute() as netlink:
        try:
            routes = list(netlink.route("get", family=family, dst=address, mark=mark))
        except NetlinkError:
            # ENETUNREACH: it would be sent nowhere.
            return False
    return any(route["type"] == _RTN_LOCAL for route in routes)
