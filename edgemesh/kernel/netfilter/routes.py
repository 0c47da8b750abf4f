"""Policy routes: diverted packets are delivered on this host, whatever their destination.

Two rules of policy routing belong to us, each with a table of its own:

- The divert mark leads to ``local default dev lo`` in ``route_table``. Without it a packet that
  TPROXY has given a socket would still be forwarded to its real destination.
- Destinations in ``service_cidrs`` lead to ``default dev lo`` in ``fallback_table``, by rules
  that come after the main and default tables. The kernel looks for a route before the output
  hook sees the first packet of a call, and without one connect() fails with ENETUNREACH. The
  order of the rules makes this hold exactly while no other route matches, also when a default
  route comes or goes later. The route is a plain one, for a ``local`` one would make the
  Service's address the caller's own source address.
"""

from __future__ import annotations

import dataclasses
import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from edgemesh.kernel.iproute import IPRoute, NetlinkError
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import NetfilterSettings

_UNICAST, _LOCAL = 1, 2
_SCOPE_UNIVERSE, _SCOPE_LINK, _SCOPE_HOST = 0, 253, 254
_LOOPBACK_INDEX = 1
_FR_ACT_TO_TBL = 1


def families(settings: NetfilterSettings) -> tuple[socket.AddressFamily, ...]:
    """The families to intercept; ``both`` leaves out IPv6 on a kernel that has none."""
    if settings.family == "ipv4":
        return (socket.AF_INET,)
    if settings.family == "ipv6":
        return (socket.AF_INET6,)
    if not Path("/proc/net/if_inet6").exists():
        return (socket.AF_INET,)
    return (socket.AF_INET, socket.AF_INET6)


def add_routes(settings: NetfilterSettings) -> None:
    """Add the rules and routes that are not there yet.

    Raises:
        OperatorError: the kernel refuses one, with its reason.
    """
    with IPRoute() as netlink:
        for kind, arguments in _entries(settings):
            change = netlink.rule if kind == "rule" else netlink.route
            with _passing_over(kind, errno.EEXIST):
                change("add", **arguments)


def remove_routes(settings: NetfilterSettings) -> None:
    """Remove those of our rules and routes that are there, of every mode and family.

    Rules are told by their priority and table together, so that those of an earlier
    configuration with other addresses or marks go too.

    Raises:
        OperatorError: the kernel refuses, with its reason.
    """
    ours = (
        (settings.rule_priority, settings.route_table),
        (settings.fallback_priority, settings.fallback_table),
    )
    everything = dataclasses.replace(settings, mode="tproxy", family="both")
    with IPRoute() as netlink:
        for family in families(everything):
            for priority, table in ours:
                rule = {"family": family, "priority": priority, "table": table}
                for _ in list(netlink.get_rules(**rule)):
                    netlink.rule("del", **rule)
        for kind, arguments in _entries(everything):
            if kind == "route":
                # ESRCH: no such route; ENOENT: not even its table.
                with _passing_over(kind, errno.ESRCH, errno.ENOENT):
                    netlink.route("del", **arguments)


def routes_installed(settings: NetfilterSettings) -> bool:
    """Whether all our rules are there. A route without its rule is never looked at."""
    wanted = [arguments for kind, arguments in _entries(settings) if kind == "rule"]
    with IPRoute() as netlink:
        return all(
            list(netlink.get_rules(**{k: v for k, v in rule.items() if k != "action"}))
            for rule in wanted
        )


@contextmanager
def _passing_over(kind: str, *harmless: int) -> Iterator[None]:
    try:
        yield
    except NetlinkError as refusal:
        if refusal.code not in harmless:
            raise OperatorError(f"the kernel refuses our {kind}: {refusal}") from None


def _entries(settings: NetfilterSettings) -> Iterator[tuple[str, dict[str, Any]]]:
    for family in families(settings):
        if settings.mode == "tproxy":
            yield from _divert(settings, family)
        yield from _fallback(settings, family)


def _divert(
    settings: NetfilterSettings, family: socket.AddressFamily
) -> Iterator[tuple[str, dict[str, Any]]]:
    # A local route needs the scope host in IPv4 (fib_create_info), and IPv6 knows no scopes.
    scope = _SCOPE_HOST if family == socket.AF_INET else _SCOPE_UNIVERSE
    yield "route", _default_by_loopback(family, settings.route_table, _LOCAL, scope)
    yield (
        "rule",
        {
            "family": family,
            "table": settings.route_table,
            "priority": settings.rule_priority,
            "fwmark": settings.divert_mark,
            "fwmask": settings.mark_mask,
            "action": _FR_ACT_TO_TBL,
        },
    )


def _fallback(
    settings: NetfilterSettings, family: socket.AddressFamily
) -> Iterator[tuple[str, dict[str, Any]]]:
    version = 4 if family == socket.AF_INET else 6
    networks = [ip_network(cidr) for cidr in settings.service_cidrs]
    networks = [network for network in networks if network.version == version]
    if not networks:
        return
    scope = _SCOPE_LINK if family == socket.AF_INET else _SCOPE_UNIVERSE
    yield "route", _default_by_loopback(family, settings.fallback_table, _UNICAST, scope)
    for network in networks:
        yield (
            "rule",
            {
                "family": family,
                "table": settings.fallback_table,
                "priority": settings.fallback_priority,
                "dst": str(network.network_address),
                "dst_len": network.prefixlen,
                "action": _FR_ACT_TO_TBL,
            },
        )


def _default_by_loopback(
    family: socket.AddressFamily, table: int, kind: int, scope: int
) -> dict[str, Any]:
    return {
        "family": family,
        "dst": "0.0.0.0/0" if family == socket.AF_INET else "::/0",
        "oif": _LOOPBACK_INDEX,
        "table": table,
        "type": kind,
        "scope": scope,
    }
