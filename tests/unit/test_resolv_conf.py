"""resolv.conf and addresses with ports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.wire.host_port import parse_host_port
from edgemesh.wire.resolv_conf import parse_nameservers


def test_the_first_three_nameservers_are_read_in_order() -> None:
    text = """
# written by dhclient
; and by hand
search lan.example example
nameserver 192.0.2.53
  nameserver 2001:DB8::53 # the other one
nameserver fe80::1%eth0
nameserver 192.0.2.54
options ndots:5 timeout:1
"""
    assert parse_nameservers(text) == ("192.0.2.53", "2001:db8::53", "fe80::1%eth0")


def test_malformed_lines_count_for_nothing() -> None:
    text = "nameserver\nnameserver dns.example\n\n#nameserver ::1\nnameserver ::2"
    assert parse_nameservers(text) == ("::2",)


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert len(parse_nameservers(text)) <= 3


@pytest.mark.parametrize(
    ("text", "default", "expected"),
    [
        ("192.0.2.1:53", 0, ("192.0.2.1", 53)),
        ("192.0.2.1", 53, ("192.0.2.1", 53)),
        ("[2001:DB8::1]:5353", 53, ("2001:db8::1", 5353)),
        ("[2001:db8::1]", 53, ("2001:db8::1", 53)),
        ("2001:db8::1", 53, ("2001:db8::1", 53)),
        ("[fe80::1%eth0]:53", 0, ("fe80::1%eth0", 53)),
    ],
)
def test_an_address_with_a_port_is_read(text: str, default: int, expected: tuple[str, int]) -> None:
    assert parse_host_port(text, default) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":53",
        "192.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "192.0.2.1:x",
        "192.0.2.1:٣",
        "dns.example:53",
        "[::1]x53",
        "[::1",
        "::1",
        "[::1]:",
    ],
)
def test_anything_else_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"IP address|port") as caught:
        parse_host_port(text)
    assert repr(text) in str(caught.value)
