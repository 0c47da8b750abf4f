"""What nft and iptables-save print is read for marks, TPROXY and NAT of others."""

from __future__ import annotations

import pytest

from edgemesh.kernel.neighbours import (
    ALL_BITS,
    ForeignRule,
    foreign_nat_chains,
    foreign_nft_rules,
    foreign_xtables_rules,
)
from edgemesh.kernel.nft_listing import parse_listing

LISTING = """\
table ip kube-proxy {
	comment "rules for kube-proxy"
	set cluster-ips {
		type ipv4_addr
		elements = { 10.96.0.1, 10.96.0.10 }
	}

	chain nat-prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		jump services
	}

	chain services {
		meta mark set meta mark | 0x00004000
	}
}
table inet edgemesh { # progname python3
	flags owner

	chain prerouting {
		type filter hook prerouting priority mangle - 5; policy accept;
		meta mark & 0x000000ff == 0x00000046 accept
	}
}
table ip bare {
}
"""


def test_a_listing_is_taken_apart_into_tables_chains_and_rules() -> None:
    kube_proxy, edgemesh, bare = parse_listing(LISTING)
    assert [(chain.name, chain.hook) for chain in kube_proxy.chains] == [
        ("nat-prerouting", "nat hook prerouting"),
        ("services", ""),
    ]
    assert kube_proxy.chains[1].rules == ["meta mark set meta mark | 0x00004000"]
    assert (edgemesh.family, edgemesh.name, edgemesh.empty) == ("inet", "edgemesh", False)
    assert (bare.chains, bare.empty) == ([], True)


def test_our_own_table_is_left_out() -> None:
    own = {("inet", "edgemesh")}
    place = "nft table ip kube-proxy, chain services"
    assert foreign_nft_rules(parse_listing(LISTING), own) == [ForeignRule(place, 0x4000, False)]
    assert foreign_nat_chains(parse_listing(LISTING), own) == [
        "nft table ip kube-proxy, chain nat-prerouting"
    ]


@pytest.mark.parametrize(
    ("rule", "bits"),
    [
        ("meta mark & 0x00004000 == 0x00004000 accept", 0x4000),
        ("meta mark != 0x00000001 accept", ALL_BITS),
        ("meta mark { 0x00000001, 0x00000002 } accept", ALL_BITS),
        ("meta mark set 0x00000005", ALL_BITS),
        ("meta mark set ct mark", ALL_BITS),
        ("meta mark set ct mark & 0x000000ff", ALL_BITS),
        ("meta mark set meta mark & 0xffff00ff | 0x00004500 accept", 0xFF00),
        ("meta mark set meta mark ^ 0x00000003", 0x3),
        ("meta mark & 0x00000010 == 0x00000010 meta mark set meta mark | 0x00000020", 0x30),
        ("ct mark set meta mark", 0),
        ("ct mark 0x00000045 accept", 0),
        ("tcp dport 80 accept", 0),
    ],
)
def test_the_bits_that_an_nft_rule_reads_or_writes(rule: str, bits: int) -> None:
    listing = parse_listing(f"table ip x {{\n\tchain c {{\n\t\t{rule}\n\t}}\n}}\n")
    assert sum(found.mark_bits for found in foreign_nft_rules(listing, ())) == bits


@pytest.mark.parametrize(
    ("rule", "bits"),
    [
        ("-m mark --mark 0x4000/0x4000 -j MASQUERADE", 0x4000),
        ("-m mark ! --mark 0x1 -j RETURN", ALL_BITS),
        ("-j MARK --set-xmark 0x40/0xff", 0xFF),
        ("-p tcp -j TPROXY --on-port 1 --tproxy-mark 0x200/0xf00", 0xF00),
        ("-j CONNMARK --restore-mark --nfmask 0xff0000 --ctmask 0xff0000", 0xFF0000),
        ("-m connmark --mark 0x45/0xff -j ACCEPT", 0),
        ("-p tcp -j ACCEPT", 0),
    ],
)
def test_the_bits_that_an_iptables_rule_reads_or_writes(rule: str, bits: int) -> None:
    tables = {"mangle": [":PREROUTING ACCEPT [0:0]", f"-A PREROUTING {rule}"]}
    found = foreign_xtables_rules("iptables", tables, "EDGEMESH")
    assert sum(each.mark_bits for each in found) == bits
    assert any(each.tproxy for each in found) == ("TPROXY" in rule)


def test_our_own_chains_are_left_out() -> None:
    tables = {"mangle": ["-A EDGEMESH-DIVERT -j MARK --set-xmark 0x45/0xff"]}
    assert foreign_xtables_rules("iptables", tables, "EDGEMESH") == []
