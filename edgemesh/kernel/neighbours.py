"""What the rules of others do that can meet ours: packet marks, TPROXY, NAT.

The readers are pure: they take what ``nft list ruleset`` and ``iptables-save`` print.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from edgemesh.kernel.nft_listing import ListedChain, ListedTable

ALL_BITS = 0xFFFFFFFF

# nft: "meta mark & 0x40 == 0x40" compares, "meta mark set meta mark & 0xf0 | 0x5" changes.
_NFT_COMPARED = re.compile(r"(?<!set )\bmeta mark (?!set )(?:& (?P<mask>0x\w+) )?")
_NFT_SET = re.compile(r"\bmeta mark set (?P<old>meta mark)?(?P<operations>(?: [&|^] 0x\w+)*)")
_NFT_OPERATION = re.compile(r"([&|^]) (0x\w+)")
_NFT_TPROXY = re.compile(r"\btproxy\b")
# A packet's mark in iptables-save; MARK, TPROXY and CONNMARK print a mask unless it is whole.
_XTABLES_MARK = re.compile(
    r"--(?:mark|set-xmark|tproxy-mark|nfmask) (?P<value>\w+)(?:/(?P<mask>\w+))?"
)
_CONNECTION_MARK = re.compile(r"-m connmark (?:! )?--mark \S+")


@dataclass(frozen=True, slots=True)
class ForeignRule:
    """One rule of somebody else that matters to us.

    Args:
        place: table and chain, for people.
        mark_bits: the bits of the packet mark that it reads or writes.
        tproxy: whether it diverts by TPROXY.
    """

    place: str
    mark_bits: int
    tproxy: bool


def foreign_nft_rules(
    tables: Iterable[ListedTable], left_out: Container[tuple[str, str]]
) -> list[ForeignRule]:
    """Rules that touch the mark or divert.

    Args:
        tables: the whole ruleset.
        left_out: family and name of tables that are our own, or read through iptables-save.
    """
    found = []
    for table, chain in _foreign_chains(tables, left_out):
        for rule in chain.rules:
            bits = _nft_mark_bits(rule)
            tproxy = _NFT_TPROXY.search(rule) is not None
            if bits or tproxy:
                found.append(ForeignRule(_place(table, chain), bits, tproxy))
    return found


def foreign_nat_chains(
    tables: Iterable[ListedTable], left_out: Container[tuple[str, str]]
) -> list[str]:
    """Chains that translate destinations; arguments are those of `foreign_nft_rules`."""
    return [
        _place(table, chain)
        for table, chain in _foreign_chains(tables, left_out)
        if chain.hook in {"nat hook prerouting", "nat hook output"}
    ]


def foreign_xtables_rules(
    tool: str, tables: Mapping[str, Iterable[str]], own_chains: str
) -> list[ForeignRule]:
    """As `foreign_nft_rules`, of iptables.

    Args:
        tool: ``iptables`` or ``ip6tables``, for the place.
        tables: lines of iptables-save by table.
        own_chains: what our chains' names begin with.
    """
    found = []
    for table, lines in tables.items():
        for line in lines:
            if not line.startswith("-A ") or line.startswith(f"-A {own_chains}-"):
                continue
            bits = 0
            for mark in _XTABLES_MARK.finditer(_CONNECTION_MARK.sub("", line)):
                whole = mark["value"] if "--nfmask" in mark[0] else "0xffffffff"
                bits |= int(mark["mask"] or whole, 0)
            tproxy = " -j TPROXY " in line
            if bits or tproxy:
                place = f"{tool} table {table}, chain {line.split()[1]}"
                found.append(ForeignRule(place, bits, tproxy))
    return found


def _foreign_chains(
    tables: Iterable[ListedTable], left_out: Container[tuple[str, str]]
) -> Iterator[tuple[ListedTable, ListedChain]]:
    for table in tables:
        if (table.family, table.name) not in left_out:
            for chain in table.chains:
                yield table, chain


def _place(table: ListedTable, chain: ListedChain) -> str:
    return f"nft table {table.family} {table.name}, chain {chain.name}"


def _nft_mark_bits(rule: str) -> int:
    bits = 0
    for match in _NFT_COMPARED.finditer(rule):
        bits |= int(match["mask"] or "0xffffffff", 0)
    for change in _NFT_SET.finditer(rule):
        if change["old"] is None:
            return ALL_BITS
        for operator, constant in _NFT_OPERATION.findall(change["operations"]):
            value = int(constant, 0)
            bits |= value ^ ALL_BITS if operator == "&" else value
    return bits
