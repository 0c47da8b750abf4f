"""How a peer gets connections that were addressed to a Service: the rules in the node's namespace.

The rules are of the kind that edgemesh installs for itself. They vanish with the namespace.
Source: nft(8), "tproxy" and "redirect" statements; kernel Documentation/networking/tproxy.rst.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.processes import finished
from bench.subjects import Site
from bench.topology import Service

# The peers' listeners: this port for the first Service, the next for the second.
_FIRST_PORT = 15001

# Packets of a connection that is diverted already skip the look-up, as under edgemesh.
_TPROXY = """
table ip bench {{
  chain intercept {{
    type filter hook prerouting priority mangle; policy accept;
    meta l4proto tcp socket transparent 1 socket wildcard 0 meta mark set 0x45 accept
{rules}  }}
}}
"""
_TPROXY_RULE = (
    "    ip daddr {host} tcp dport {port} tproxy to :{listener} meta mark set 0x45 accept\n"
)
_POLICY_ROUTE = (
    ["ip", "rule", "add", "fwmark", "0x45/0xff", "lookup", "4500", "pref", "90"],
    ["ip", "route", "add", "local", "default", "dev", "lo", "table", "4500"],
)

_REDIRECT = """
table ip bench {{
  chain intercept {{
    type nat hook prerouting priority dstnat; policy accept;
{rules}  }}
}}
"""
_REDIRECT_RULE = "    ip daddr {host} tcp dport {port} redirect to :{listener}\n"


def listener_ports(site: Site) -> Mapping[Service, int]:
    """The port that a peer listens on, for each Service."""
    return {service: _FIRST_PORT + index for index, service in enumerate(site.services)}


async def divert(site: Site) -> None:
    """Hand connections over by TPROXY: the listener has to be transparent."""
    await _load_rules(site, _TPROXY, _TPROXY_RULE)
    for command in _POLICY_ROUTE:
        await finished(site.topology.node, command)


async def redirect(site: Site) -> None:
    """Hand connections over by address translation: any listener will do."""
    await _load_rules(site, _REDIRECT, _REDIRECT_RULE)


async def _load_rules(site: Site, table: str, rule: str) -> None:
    rules = "".join(
        rule.format(host=service.address.host, port=service.address.port, listener=listener)
        for service, listener in listener_ports(site).items()
    )
    await finished(site.topology.node, ["nft", "-f", "-"], table.format(rules=rules))
