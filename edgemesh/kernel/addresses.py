"""Addresses of this host: listed, and added to the loopback interface while they are needed.

Every function blocks for a netlink round trip: call it in a thread.
"""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address
from typing import Any

from edgemesh.kernel.iproute import IPRoute, NetlinkError
from edgemesh.model.errors import OperatorError

_LOOPBACK_INDEX = 1
_IFA_F_NODAD = 0x02
# if_addr.h: an address is not for much longer, or cannot be used yet.
_IFA_F_DEPRECATED = 0x20
_IFA_F_TENTATIVE = 0x40
# Of IPv6: for outgoing calls only. Of IPv4 the same bit means a second address of a network.
_IFA_F_TEMPORARY = 0x01
_SCOPE_GLOBAL = 0
# RT_SCOPE_HOST: the kernel never takes such an address as the source of a packet that leaves.
_SCOPE_HOST = 254


def node_addresses() -> frozenset[str]:
    """Every address of every interface, in canonical text, loopback included."""
    with IPRoute() as netlink:
        return frozenset(str(ip_address(_text(message))) for message in netlink.get_addr())


def neighbouring_addresses(address: str) -> tuple[str, ...]:
    """The lasting global addresses of the interface that has an address, that one first."""
    with IPRoute() as netlink:
        messages = list(netlink.get_addr())
    found = {str(ip_address(_text(message))): message for message in messages}
    wanted = found.get(str(ip_address(address)))
    if wanted is None:
        return ()
    usable = [
        text
        for text, message in found.items()
        if message["index"] == wanted["index"]
        and message["scope"] == _SCOPE_GLOBAL
        and not message["flags"] & _passing(text)
    ]
    return tuple(sorted(usable, key=lambda text: found[text] is not wanted))


def add_address(address: str) -> bool:
    """Give the loopback interface an address, unless some interface has it already.

    Args:
        address: IPv4 or IPv6 text.

    Returns:
        Whether it was added, and so is the caller's to remove.

    Raises:
        OperatorError: the kernel refuses.
    """
    address = str(ip_address(address))
    if address in node_addresses():
        return False
    try:
        _change("add", address)
    except NetlinkError as refusal:
        if refusal.code == errno.EEXIST:
            return False
        raise OperatorError(f"cannot add {address} to lo: {refusal}") from None
    return True


def remove_address(address: str) -> bool:
    """Take an address from the loopback interface.

    Returns:
        Whether it was there.

    Raises:
        OperatorError: the kernel refuses.
    """
    try:
        _change("del", str(ip_address(address)))
    except NetlinkError as refusal:
        if refusal.code == errno.EADDRNOTAVAIL:
            return False
        raise OperatorError(f"cannot remove {address} from lo: {refusal}") from None
    return True


def _passing(address: str) -> int:
    """The flags of an address that others should not be told of."""
    passing = _IFA_F_DEPRECATED | _IFA_F_TENTATIVE
    return passing | _IFA_F_TEMPORARY if ":" in address else passing


def _text(message: Any) -> str:
    return str(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))


def _change(command: str, address: str) -> None:
    is_ipv6 = ":" in address
    with IPRoute() as netlink:
        netlink.addr(
            command,
            index=_LOOPBACK_INDEX,
            family=socket.AF_INET6 if is_ipv6 else socket.AF_INET,
            address=address,
            prefixlen=128 if is_ipv6 else 32,
            scope=_SCOPE_HOST,
            # Nobody else can have an address of lo; it is usable at once.
            **({"flags": _IFA_F_NODAD} if is_ipv6 and command == "add" else {}),
        )
