"""Addresses have one spelling."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.wire.addresses import canonical_address, family_of


@pytest.mark.parametrize(
    ("text", "canonical", "family"),
    [
        ("10.0.0.1", "10.0.0.1", "IPv4"),
        ("FD00::00:1", "fd00::1", "IPv6"),
        ("::FFFF:1.2.3.4", "1.2.3.4", "IPv4"),
        ("::ffff:102:304", "1.2.3.4", "IPv4"),
        ("64:ff9b::1.2.3.4", "64:ff9b::102:304", "IPv6"),
    ],
)
def test_equal_addresses_are_equal_text(text: str, canonical: str, family: str) -> None:
    assert canonical_address(text) == canonical
    assert family_of(text) == family


@pytest.mark.parametrize("text", ["", "web", "10.0.0", "010.0.0.1", "fe80::1%eth0", "1.2.3.4/8"])
def test_what_is_no_address_everywhere_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical_address(text)


@given(st.ip_addresses())
def test_canonical_text_is_what_the_kernel_spells(address: IPv4Address | IPv6Address) -> None:
    canonical = canonical_address(address.exploded)
    assert canonical_address(canonical) == canonical
    # The deprecated IPv4-compatible range (RFC 4291, 2.5.5.1) is spelled with dots by libc.
    if int(address) >= 2**32:
        family = socket.AF_INET6 if ":" in canonical else socket.AF_INET
        assert socket.inet_ntop(family, socket.inet_pton(family, canonical)) == canonical
