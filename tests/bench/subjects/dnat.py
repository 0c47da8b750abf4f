"""No proxy, but connection tracking: nft rewrites the Service's address, as kube-proxy has it done.

Each connection goes to an endpoint that is drawn at random; the node translates its packets both
ways. Nothing hides the client's address: the answers pass the node anyway.
Source: kubernetes.io, KEP-3866 (kube-proxy's nftables mode); nft(8), "dnat" and "numgen".
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.processes import finished
from bench.subjects import Running, Site, at_service_addresses
from bench.topology import Service

_TABLE = """
table ip bench {{
  chain services {{
    type nat hook prerouting priority dstnat; policy accept;
{rules}  }}
}}
"""
_RULE = (
    "    ip daddr {host} tcp dport {port} dnat to numgen random mod {count} map {{ {endpoints} }}\n"
)


@asynccontextmanager
async def dnat(site: Site) -> AsyncIterator[Running]:
    """Load the rules; they vanish with the namespace."""
    rules = "".join(map(_rule, site.services))
    await finished(site.topology.node, ["nft", "-f", "-"], _TABLE.format(rules=rules))
    yield at_service_addresses("dnat", site, None)


def _rule(service: Service) -> str:
    endpoints = ", ".join(
        f"{index} : {host} . {port}" for index, (host, port) in enumerate(service.endpoints)
    )
    count = len(service.endpoints)
    return _RULE.format(**service.address._asdict(), count=count, endpoints=endpoints)
