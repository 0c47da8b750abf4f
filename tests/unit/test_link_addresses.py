"""What a node tells others about where its links are taken."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.policy.bus.link_addresses import link_addresses
from edgemesh.wire.host_port import joined, parse_host_port

BOTH = ("0.0.0.0:10006", "[::]:10006")
LOCAL = ("192.0.2.1", "2001:db8::1", "192.0.2.2")


def test_wildcards_mean_the_addresses_of_the_interface_by_their_family() -> None:
    assert link_addresses(BOTH, (), LOCAL) == (
        "192.0.2.1:10006",
        "192.0.2.2:10006",
        "[2001:db8::1]:10006",
    )
    assert link_addresses(("0.0.0.0:7",), (), LOCAL) == ("192.0.2.1:7", "192.0.2.2:7")


def test_an_address_that_is_listened_on_alone_is_told_alone() -> None:
    listen = ("198.51.100.7:10006", "[2001:db8::7]:7")
    assert link_addresses(listen, (), LOCAL) == listen


def test_what_the_operator_names_is_told_and_nothing_else() -> None:
    named = ("203.0.113.9", "203.0.113.9:10006", "[2001:db8::9]:443")
    assert link_addresses(BOTH, named, LOCAL) == ("203.0.113.9:10006", "[2001:db8::9]:443")


def test_nothing_is_told_where_nothing_is_listened_on() -> None:
    assert link_addresses((), (), LOCAL) == ()


@pytest.mark.parametrize("bad", ["nonsense", "192.0.2.1:0", "192.0.2.1:x"])
def test_what_is_no_address_is_refused_with_its_text(bad: str) -> None:
    with pytest.raises(ValueError, match=bad.partition(":")[0]):
        link_addresses(BOTH, (bad,), LOCAL)
    with pytest.raises(ValueError, match=bad.partition(":")[0]):
        link_addresses((bad,), (), LOCAL)


def test_a_name_without_port_needs_a_listener_to_have_it_from() -> None:
    with pytest.raises(ValueError, match=r"203\.0\.113\.9"):
        link_addresses((), ("203.0.113.9",), LOCAL)


ADDRESSES = st.ip_addresses().map(str)
LISTENERS = st.lists(
    st.builds(joined, ADDRESSES | st.sampled_from(["0.0.0.0", "::"]), st.integers(1, 65535)),
    max_size=4,
)


@given(listen=LISTENERS, local=st.lists(ADDRESSES, max_size=4))
def test_what_is_told_can_be_dialled_and_leads_to_a_listener(
    listen: list[str], local: list[str]
) -> None:
    told = link_addresses(listen, (), local)
    assert len(set(told)) == len(told)
    listeners = {parse_host_port(each) for each in listen}
    for each in told:
        address, port = parse_host_port(each)
        wildcard = {4: "0.0.0.0", 6: "::"}[ipaddress.ip_address(address).version]
        assert (address, port) in listeners or (wildcard, port) in listeners
