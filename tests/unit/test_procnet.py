"""The tables of /proc/net tell who listens."""

from __future__ import annotations

import os
import socket
import struct

import pytest

from edgemesh.kernel.procnet import BoundSocket, bound_sockets, holder, parse_table

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"


def row(address: str, port: int, state: str, inode: int) -> str:
    """A line as the kernel prints it: 32-bit words in the order of this machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    words = "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))
    return f"   0: {words}:{port:04X} 0:0 {state} 0:0 00:0 0     0        0 {inode} 1 0\n"


def test_listeners_are_told_from_connections() -> None:
    table = HEADER + row("127.0.0.1", 8080, "0A", 1) + row("127.0.0.1", 8080, "01", 2)
    assert parse_table(table, "tcp") == [BoundSocket("127.0.0.1", 8080, 1)]


def test_ipv6_addresses_are_put_together_from_their_words() -> None:
    table = HEADER + row("fe80::50:56ff:fe0c:b9a8", 53, "07", 44)
    assert parse_table(table, "udp") == [BoundSocket("fe80::50:56ff:fe0c:b9a8", 53, 44)]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_a_socket_of_ours_is_found_with_its_holder(
    family: socket.AddressFamily, kind: socket.SocketKind
) -> None:
    loopback = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family, kind) as sock:
        sock.bind((loopback, 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        found = bound_sockets("tcp" if kind == socket.SOCK_STREAM else "udp")
        inode = os.fstat(sock.fileno()).st_ino
        assert BoundSocket(loopback, sock.getsockname()[1], inode) in found
        assert holder(inode) == os.getpid()


def test_a_socket_that_nobody_holds_has_no_holder() -> None:
    assert holder(2**40) is None
