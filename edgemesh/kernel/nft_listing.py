"""What ``nft list ruleset`` prints, taken apart.

As text and not as JSON: for a table with ``flags owner``, nft 1.0.6 (Debian 12) reads beyond an
array when it prints the flags in JSON, and prints rubbish or crashes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TABLE = re.compile(r"^table (\w+) (\S+) \{")
_CHAIN = re.compile(r"^\tchain (\S+) \{$")
_HOOK = re.compile(r"^\t\ttype (\w+ hook \w+) ")


@dataclass(slots=True)
class ListedChain:
    """A chain.

    Args:
        name: as it was given.
        hook: ``nat hook prerouting`` and the like, "" for a chain that others jump to.
        rules: one line each.
    """

    name: str
    hook: str
    rules: list[str]


@dataclass(slots=True)
class ListedTable:
    """A table.

    Args:
        family: ``ip``, ``ip6``, ``inet``, ``arp``, ``bridge`` or ``netdev``.
        name: as it was given.
        chains: its chains.
        empty: whether there is nothing in it at all, no set either.
    """

    family: str
    name: str
    chains: list[ListedChain]
    empty: bool = True


def parse_listing(text: str) -> list[ListedTable]:
    """The tables of a listing, in its order."""
    tables: list[ListedTable] = []
    rules: list[str] | None = None
    for line in text.splitlines():
        if found := _TABLE.match(line):
            tables.append(ListedTable(found[1], found[2], []))
        elif found := _CHAIN.match(line):
            rules = []
            tables[-1].chains.append(ListedChain(found[1], "", rules))
            tables[-1].empty = False
        elif rules is not None and (found := _HOOK.match(line)):
            tables[-1].chains[-1].hook = found[1]
        elif line == "\t}":
            rules = None
        elif rules is not None:
            rules.append(line.strip())
        elif line.startswith("\t") and line.endswith("{"):
            tables[-1].empty = False
    return tables
