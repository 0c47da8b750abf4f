"""What interception needs of this host, and what stands in its way."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgemesh.kernel.commands import find_tool, run_tool
from edgemesh.kernel.conntrack import Conntrack
from edgemesh.kernel.iproute import IPRoute
from edgemesh.kernel.neighbours import (
    ALL_BITS,
    ForeignRule,
    foreign_nat_chains,
    foreign_nft_rules,
    foreign_xtables_rules,
)
from edgemesh.kernel.netfilter.nft import NftContext
from edgemesh.kernel.netfilter.routes import families
from edgemesh.kernel.netfilter.ruleset import chains
from edgemesh.kernel.netfilter.xtables import Xtables
from edgemesh.kernel.nft_listing import parse_listing
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import NetfilterSettings

_CAP_NET_ADMIN = 12
_IFF_UP = 1
_SHOWN_PLACES = 3

State = Literal["ok", "warning", "missing"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        id: a word for programs.
        state: ``missing`` prevents interception, ``warning`` may spoil it for somebody.
        what: for people, one sentence.
        remedy: a command or what to change, "" when nothing is to be done.
    """

    id: str
    state: State
    what: str
    remedy: str = ""


def check_interception(settings: NetfilterSettings) -> list[Finding]:
    """Look at everything that the settings need; nothing on the host is changed.

    Blocks for some tenths of a second: call it in a thread.

    Raises:
        OperatorError: a tool that is installed does not work.
    """
    privilege = _privilege()
    if privilege.state == "missing":
        return [privilege]
    findings = [privilege, _loopback()]
    findings += _nft(settings) if settings.backend == "nft" else _iptables(settings)
    if settings.mode == "tproxy":
        findings += [_bridges(settings), _source_marks(), *_policy_routes(settings)]
    else:
        findings.append(_conntrack())
    findings += [*_forwarding(settings), *_neighbours(settings)]
    return findings


def _privilege() -> Finding:
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^CapEff:\s*(\w+)$", status, re.MULTILINE)
    if found is not None and int(found[1], 16) >> _CAP_NET_ADMIN & 1:
        return Finding("privilege", "ok", "may change the network (CAP_NET_ADMIN)")
    user = os.geteuid()
    return Finding("privilege", "missing", f"user {user} may not change the network", "run as root")


def _loopback() -> Finding:
    with IPRoute() as netlink:
        (link,) = netlink.get_links(index=1)
    if link["flags"] & _IFF_UP:
        return Finding("loopback", "ok", "the loopback interface is up")
    what = "the loopback interface is down; the node's own calls are diverted through it"
    return Finding("loopback", "missing", what, "ip link set lo up")


def _nft(settings: NetfilterSettings) -> Iterator[Finding]:
    try:
        context = NftContext()
    except OperatorError as error:
        yield Finding("nft", "missing", error.problem, error.remedy)
        return
    name = f"{settings.table}-probe"
    if context.run(f"add table inet {name}; delete table inet {name}")[0]:
        what = "the kernel lacks nf_tables or its family inet (5.2 or later has it)"
        yield Finding("nft", "missing", what, "modprobe nf_tables, or choose backend iptables")
        return
    yield Finding("nft", "ok", "nftables and its Python module work")
    if settings.mode == "tproxy":
        hook = "type filter hook prerouting priority -305"
        rules = [
            f"inet {name} probe meta l4proto tcp {e}"
            for e in ("tproxy to :1", "socket transparent 1", "notrack")
        ]
        what, remedy = (
            "nftables' tproxy, socket and notrack",
            "modprobe nft_tproxy nft_socket nft_ct, or mode redirect",
        )
    else:
        hook = "type nat hook prerouting priority -105"
        rules = [f"inet {name} probe meta l4proto tcp redirect to :1"]
        what, remedy = "nftables' redirect", "modprobe nft_redir"
    chain = f"add chain inet {name} probe {{ {hook}; }}"
    # Made and deleted in one transaction: no packet ever meets it.
    commands = [f"add table inet {name}", chain, *(f"add rule {rule}" for rule in rules)]
    failed = context.run("\n".join([*commands, f"delete table inet {name}"]))[0]
    yield _either(settings.mode, not failed, f"the kernel knows {what}", remedy)
    if settings.fail == "open":
        failed = context.run(f"add table inet {name} {{ flags owner; }}; delete table inet {name}")[
            0
        ]
        what = "tables can vanish with their owner (nftables 1.0.0 and kernel 5.12)"
        yield _either("owner", not failed, what, "set netfilter.fail to closed")


def _iptables(settings: NetfilterSettings) -> Iterator[Finding]:
    for family in families(settings):
        version = 4 if family == socket.AF_INET else 6
        tool = "iptables" if version == 4 else "ip6tables"
        found = Xtables(version).available()
        yield _either(tool, found, f"{tool}-restore is installed", "apt-get install iptables")
        if not found:
            continue
        table, target, port = (
            ("mangle", "TPROXY", "--on-port 1")
            if settings.mode == "tproxy"
            else ("nat", "REDIRECT", "--to-ports 1")
        )
        text = f"*{table}\n:PROBE - [0:0]\n-A PROBE -p tcp -j {target} {port}\nCOMMIT\n"
        # In a network namespace of its own, which has the same kernel and ends with the probe.
        probe = run_tool(["unshare", "--net", f"{tool}-restore"], text, "util-linux")
        remedy = f"modprobe xt_{target}"
        what = f"the kernel knows {tool}' target {target}"
        yield _either(f"{tool}-{settings.mode}", probe.returncode == 0, what, remedy)
    if find_tool("ipset") is None or run_tool(["ipset", "list", "-name"]).returncode:
        what = "without ipset every packet is compared with every Service"
        yield Finding("ipset", "warning", what, "apt-get install ipset")
    else:
        yield Finding("ipset", "ok", "ip sets work")
    if settings.fail == "open":
        what = "iptables rules outlive a killed agent, and Services are cut off until it is back"
        yield Finding("owner", "warning", what, "choose backend nft")


def _bridges(settings: NetfilterSettings) -> Finding:
    with IPRoute() as netlink:
        bridges = [link.get_attr("IFLA_IFNAME") for link in netlink.get_links(kind="bridge")]
    calls = [
        f"net.bridge.bridge-nf-call-{tool}"
        for tool, family in (("iptables", socket.AF_INET), ("ip6tables", socket.AF_INET6))
        if family in families(settings)
        and _sysctl(f"net/bridge/bridge-nf-call-{tool}") not in ("", "0")
    ]
    if not bridges or not calls:
        return Finding("bridge", "ok", "no bridge hides packets from TPROXY")
    # br_netfilter runs the hooks while the packet is still in the bridge, and ip_sabotage_in()
    # skips them afterwards; by then the socket that TPROXY chose is forgotten.
    return Finding(
        "bridge",
        "missing",
        f"br_netfilter hides the packets of bridge {', '.join(bridges)} from TPROXY",
        f"sysctl -w {' '.join(f'{call}=0' for call in calls)}, or choose mode redirect",
    )


def _source_marks() -> Finding:
    # The reverse-path lookup then carries our mark and finds our local route: a martian source
    # (fib_validate_source, whatever rp_filter says).
    found = sorted(
        path.parent.name
        for path in Path("/proc/sys/net/ipv4/conf").glob("*/src_valid_mark")
        if path.read_text().strip() != "0"
    )
    if not found:
        return Finding("src_valid_mark", "ok", "the mark does not take part in source validation")
    remedy = "sysctl -w " + " ".join(f"net.ipv4.conf.{name}.src_valid_mark=0" for name in found)
    what = f"src_valid_mark is set for {', '.join(found)} (WireGuard's wg-quick does that)"
    return Finding("src_valid_mark", "missing", f"{what}: diverted packets are dropped", remedy)


def _policy_routes(settings: NetfilterSettings) -> Iterator[Finding]:
    strangers = []
    with IPRoute() as netlink:
        for rule in netlink.get_rules():
            table, priority = rule.get_attr("FRA_TABLE"), rule.get_attr("FRA_PRIORITY")
            ours = (settings.rule_priority, settings.route_table)
            if (priority == ours[0]) != (table == ours[1]):
                strangers.append(f"rule {priority} to table {table}")
        strangers += [
            f"a route in table {settings.route_table}"
            for route in netlink.get_routes(table=settings.route_table)
            if route.get_attr("RTA_OIF") != 1 or route["dst_len"]
        ]
    if strangers:
        what = f"others use our policy route's priority or table: {', '.join(strangers)}"
        remedy = "set netfilter.route_table and netfilter.rule_priority to free numbers"
        yield Finding("policy-route", "warning", what, remedy)
    else:
        numbers = f"{settings.route_table} and rule priority {settings.rule_priority}"
        yield Finding("policy-route", "ok", f"table {numbers} are free for us")


def _conntrack() -> Finding:
    try:
        with Conntrack() as conntrack:
            conntrack.original_destination_udp(("192.0.2.1", 1), ("192.0.2.2", 1))
    except OSError as error:
        what = f"datagrams' original destinations cannot be asked: {error.strerror}"
        return Finding("conntrack", "missing", what, "modprobe nf_conntrack_netlink")
    return Finding("conntrack", "ok", "connection tracking tells original destinations")


def _forwarding(settings: NetfilterSettings) -> Iterator[Finding]:
    for family in families(settings):
        key = "net.ipv4.ip_forward" if family == socket.AF_INET else "net.ipv6.conf.all.forwarding"
        if _sysctl(key.replace(".", "/")) == "0":
            what = f"{key} is 0: pods reach Services, and nothing else beyond this node"
            yield Finding("forwarding", "warning", what, f"sysctl -w {key}=1")
        else:
            yield Finding("forwarding", "ok", f"{key} is on")


def _neighbours(settings: NetfilterSettings) -> Iterator[Finding]:
    rules: list[ForeignRule] = []
    left_out = {("inet", settings.table)}
    for version, tool in ((4, "iptables"), (6, "ip6tables")):
        family = Xtables(version)
        if family.available():
            saved = family.saved()
            rules += foreign_xtables_rules(tool, saved, chains(settings))
            left_out |= {("ip" if version == 4 else "ip6", table) for table in saved}
    listing = run_tool(["nft", "-t", "list", "ruleset"]).stdout if find_tool("nft") else ""
    tables = parse_listing(listing)
    rules += foreign_nft_rules(tables, left_out)
    nat = foreign_nat_chains(tables, left_out)
    diverting = {rule.place: None for rule in rules if rule.tproxy}
    yield _unless(
        "tproxy-user", diverting, "also diverts by TPROXY", "see which of the two is meant"
    )
    sharing = {
        rule.place: None for rule in rules if rule.mark_bits & settings.mark_mask
    } | dict.fromkeys(_marking_rules(settings))
    mask = f"uses bits of the mark within {settings.mark_mask:#x}"
    yield _unless("mark", sharing, mask, "set netfilter.mark_mask, divert_mark, own_mark elsewhere")
    if settings.backend == "iptables":
        later = "translates destinations before iptables does, when it starts later"
        yield _unless("nat", dict.fromkeys(nat), later, "choose backend nft")


def _marking_rules(settings: NetfilterSettings) -> Iterator[str]:
    with IPRoute() as netlink:
        for rule in netlink.get_rules():
            mark = rule.get_attr("FRA_FWMARK")
            if rule.get_attr("FRA_TABLE") == settings.route_table or not mark:
                continue
            if (rule.get_attr("FRA_FWMASK") or ALL_BITS) & settings.mark_mask:
                yield f"ip rule {rule.get_attr('FRA_PRIORITY')}"


def _unless(id_: str, places: Iterable[str], what: str, remedy: str) -> Finding:
    found = list(places)
    if not found:
        return Finding(id_, "ok", f"nobody else {what}")
    more = f" and {len(found) - _SHOWN_PLACES} more" if len(found) > _SHOWN_PLACES else ""
    return Finding(id_, "warning", f"{'; '.join(found[:_SHOWN_PLACES])}{more} {what}", remedy)


def _either(id_: str, good: bool, what: str, remedy: str) -> Finding:
    return Finding(id_, "ok", what) if good else Finding(id_, "missing", f"not so: {what}", remedy)


def _sysctl(path: str) -> str:
    file = Path("/proc/sys", path)
    return file.read_text().strip() if file.exists() else ""
