"""Where the kernel led a socket of ours: for who calls a Service and wants to know."""

from __future__ import annotations

import ipaddress
import struct
from pathlib import Path
from typing import Final

from edgemesh.kernel.bpf.maps import Map
from edgemesh.kernel.bpf.pins import CURRENT, MAPS
from edgemesh.kernel.sockets import Address

# struct note of bpf/edgemesh.h: its member given.
_NOTE: Final = struct.Struct("=56x16s2s")


def given_endpoint(directory: Path, cookie: bytes) -> Address | None:
    """The endpoint that a socket was given when it connected; None when it was given none.

    Args:
        directory: where programs and maps are pinned, `BpfSettings.directory`.
        cookie: of the socket, its SO_COOKIE.
    """
    try:
        with Map.open(directory / CURRENT / MAPS / "sockets") as sockets:
            value = sockets.lookup(cookie)
    except OSError:
        # Nothing is loaded, or it is not for us to look at.
        return None
    if value is None:
        return None
    address, port = _NOTE.unpack_from(value)
    found = ipaddress.IPv6Address(address)
    return str(found.ipv4_mapped or found), int.from_bytes(port, "big")
