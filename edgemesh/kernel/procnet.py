"""Which ports are taken, as /proc/net tells (proc_pid_net(5)); nothing is bound to find out."""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path
from typing import Literal, NamedTuple

# linux/tcp_states.h: a listener, and what /proc shows for an unconnected UDP socket.
_TCP_LISTEN = "0A"
_UDP_UNCONNECTED = "07"


class BoundSocket(NamedTuple):
    """A TCP listener or an unconnected UDP socket; inode names it in /proc/PID/fd."""

    address: str
    port: int
    inode: int


def bound_sockets(transport: Literal["tcp", "udp"]) -> list[BoundSocket]:
    """Those of this network namespace, IPv4 first."""
    found: list[BoundSocket] = []
    for name in (transport, f"{transport}6"):
        table = Path("/proc/self/net") / name
        # A kernel without IPv6 has no table for it.
        if table.exists():
            found += parse_table(table.read_text(), transport)
    return found


def parse_table(text: str, transport: Literal["tcp", "udp"]) -> list[BoundSocket]:
    """Read one table of /proc/net."""
    state = _TCP_LISTEN if transport == "tcp" else _UDP_UNCONNECTED
    rows = (line.split() for line in text.splitlines()[1:])
    return [_read(row) for row in rows if row[3] == state]


def holder(inode: int) -> int | None:
    """The process that has a socket open, None when it cannot be seen."""
    wanted = f"socket:[{inode}]"
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            if any(str(descriptor.readlink()) == wanted for descriptor in folder.iterdir()):
                return int(folder.parent.name)
        except OSError:
            # It ended meanwhile, or belongs to somebody else.
            continue
    return None


def _read(row: list[str]) -> BoundSocket:
    address, _, port = row[1].partition(":")
    raw = bytes.fromhex(address)
    # The kernel prints 32-bit words of network order as numbers of its own order.
    words = struct.unpack(f">{len(raw) // 4}I", raw)
    order = "<" if sys.byteorder == "little" else ">"
    packed = struct.pack(f"{order}{len(words)}I", *words)
    family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
    return BoundSocket(socket.inet_ntop(family, packed), int(port, 16), int(row[9]))
