"""What the data plane asks of the kernel about addresses and sockets."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.kernel.sockets import (
    bound_kernel_memory,
    dialling_socket,
    ipv6_available,
    is_own_address,
    tcp_listener,
    unpack_address,
)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_addresses_are_the_hosts_own(address: str) -> None:
    assert is_own_address(address)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_documentation_addresses_are_not(address: str) -> None:
    assert not is_own_address(address)


def test_this_kernel_has_ipv6() -> None:
    assert ipv6_available()


@given(st.ip_addresses(), st.integers(0, 65535))
def test_addresses_come_out_of_a_sockaddr_as_getsockname_spells_them(
    address: IPv4Address | IPv6Address, port: int
) -> None:
    if address.version == 4:
        raw = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + address.packed
        spelled = socket.inet_ntop(socket.AF_INET, address.packed)
    else:
        flow = bytes(4)
        raw = struct.pack("=H", socket.AF_INET6) + struct.pack("!H", port) + flow + address.packed
        spelled = socket.inet_ntop(socket.AF_INET6, address.packed)
    assert unpack_address(raw + bytes(8)) == (spelled, port)


@pytest.mark.root
@pytest.mark.parametrize("source", ["192.0.2.7", "2001:db8::7"])
def test_a_foreign_source_takes_no_port_before_it_connects(source: str) -> None:
    """Else one client's flows to all endpoints would share the 28,000 ports of its address."""
    with dialling_socket(source, socket.SOCK_STREAM, 0x46, source) as sock:
        assert sock.getsockname()[:2] == (source, 0)


@pytest.mark.root
def test_what_bounds_a_listener_bounds_what_it_accepts() -> None:
    """So that a connection costs no system call for it."""
    with tcp_listener(socket.AF_INET, 0, transparent=False) as listener:
        bound_kernel_memory(listener, 1 << 20)
        with socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
            listener.settimeout(5)
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 512 << 10
                lowat = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
                assert lowat == 384 << 10
