"""The commands that put elements into the sets of an nft table, and take them out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edgemesh.kernel.netfilter.interception import HeldConnection, Target
from edgemesh.model.services import InboundAddress, NodePort, ServiceAddress, Transport

_SERVICES = ("svc4", "svc6")
_INBOUND = ("inbound4", "inbound6")
_NODE_PORTS = "nodeports"
TARGET_SETS = (*_SERVICES, *_INBOUND, _NODE_PORTS)
_HELD = ("held4", "held6")
_CALLERS = ("callers4", "callers6")
_RETURNED = ("returned4", "returned6")
# Connections that somebody else has of those who were left alone are cut when they are silent for
# longer.
_RETURNED_FOR = "1d"

_OURS4, _OURS6, _OUR_PORTS = "ours4", "ours6", "our_ports"
# A connection that the agent accepts while its Service goes is held within seconds. A port may
# have a second reason, which only the kernel knows: see chain "answer" of tproxy.nft.
_LINGERING = {_OURS4: "1m", _OURS6: "1m", _OUR_PORTS: "1d"}

# By number: the library looks names up in /etc/protocols, which slim containers lack.
_PROTOCOL_NUMBER = {Transport.TCP: 6, Transport.UDP: 17}
_TRANSPORT = {6: Transport.TCP, 17: Transport.UDP}


def ours(targets: Iterable[Target], held: Iterable[HeldConnection]) -> frozenset[str]:
    """The addresses and ports whose packets have to get beyond the first rules, each once."""
    looked_at = {
        str(target.port) if isinstance(target, NodePort) else target.address for target in targets
    }
    return frozenset(looked_at.union(_host(connection.destination) for connection in held))


def change_ours(table: str, before: frozenset[str], after: frozenset[str]) -> list[str]:
    """The commands for those that have got their first reason to be there, or lost their last.

    What goes lingers for a while, as if the agent had been told late. Whatever stands is taken
    out first: to an element that lingers, nft would add nothing.
    """
    changed = before ^ after
    return [
        *_commands("add", table, _of_ours(changed)),
        *_commands("delete", table, _of_ours(changed)),
        *_commands("add", table, _of_ours(after - before)),
        *_commands("add", table, _for_a_while(before - after)),
    ]


def begin_ours(table: str, these: frozenset[str], *, any_port: bool) -> list[str]:
    """The commands for a new table.

    Args:
        table: family and name.
        these: what stands for good.
        any_port: the agent may await answers at a borrowed address, at ports not known here.
    """
    commands = _commands("add", table, _of_ours(these))
    if any_port:
        ports = frozenset(str(port) for port in range(1, 1 << 16))
        commands += _commands("add", table, _for_a_while(ports - these))
    return commands


def change_targets(command: str, table: str, targets: Iterable[Target]) -> list[str]:
    """The commands, ``add`` or ``delete``, for the sets that packets are diverted by."""
    by_set: dict[str, list[str]] = {}
    for target in targets:
        address = "" if isinstance(target, NodePort) else f"{target.address} . "
        element = f"{address}{_PROTOCOL_NUMBER[target.transport]} . {target.port}"
        by_set.setdefault(_set_of(target), []).append(element)
    return _commands(command, table, by_set)


def change_held(command: str, table: str, held: Iterable[HeldConnection]) -> list[str]:
    """The commands, ``add`` or ``delete``, for connections whose Service is gone."""
    by_set: dict[str, list[str]] = {}
    for connection in held:
        parts = [f"{_host(place)} . {place[1]}" for place in connection]
        name = _HELD[":" in connection.destination[0]]
        by_set.setdefault(name, []).append(" . ".join(parts))
    return _commands(command, table, by_set)


def change_callers(
    table: str, before: frozenset[str] | None, after: frozenset[str], *, returns: bool
) -> list[str]:
    """The commands for those whose calls are treated otherwise than those of others.

    Args:
        table: family and name.
        before: addresses that stand; None when that is not known.
        after: addresses that are to stand.
        returns: whether what others have of who goes has to be let go on.
    """
    commands = []
    if before is None:
        commands = [f"flush set {table} {name}" for name in _CALLERS]
        before = frozenset()
    gone = _by_family(_CALLERS, before - after)
    commands += _commands("add", table, _by_family(_CALLERS, after - before))
    commands += _commands("add", table, gone) + _commands("delete", table, gone)
    if returns:
        # To an element that is there already, nft would add nothing: its time would run on.
        again = _by_family(_RETURNED, before - after)
        commands += _commands("add", table, again) + _commands("delete", table, again)
        commands += _commands(
            "add",
            table,
            {
                name: [f"{address} timeout {_RETURNED_FOR}" for address in addresses]
                for name, addresses in again.items()
            },
        )
    return commands


def target_of(name: str, concatenation: list[Any]) -> Target | None:
    """What an element of one of `TARGET_SETS` stands for, as the library lists it."""
    *address, protocol, port = concatenation
    transport = _TRANSPORT.get(protocol) or _by_name(protocol)
    if transport is None:
        return None
    if name == _NODE_PORTS:
        return NodePort(transport, port)
    kind = InboundAddress if name in _INBOUND else ServiceAddress
    return kind(address[0], transport, port)


def _host(place: tuple[str, int]) -> str:
    # A link-local address comes with its interface, which is no part of a packet.
    return place[0].partition("%")[0]


def _by_family(names: tuple[str, str], addresses: Iterable[str]) -> dict[str, list[str]]:
    by_set: dict[str, list[str]] = {}
    for address in addresses:
        by_set.setdefault(names[":" in address], []).append(address)
    return by_set


def _of_ours(these: Iterable[str]) -> dict[str, list[str]]:
    by_set: dict[str, list[str]] = {}
    for each in these:
        name = _OURS6 if ":" in each else _OURS4 if "." in each else _OUR_PORTS
        by_set.setdefault(name, []).append(each)
    return by_set


def _for_a_while(these: Iterable[str]) -> dict[str, list[str]]:
    return {
        name: [f"{each} timeout {_LINGERING[name]}" for each in elements]
        for name, elements in _of_ours(these).items()
    }


def _commands(command: str, table: str, by_set: Mapping[str, Iterable[str]]) -> list[str]:
    return [
        f"{command} element {table} {name} {{ {', '.join(elements)} }}"
        for name, elements in by_set.items()
    ]


def _set_of(target: Target) -> str:
    if isinstance(target, NodePort):
        return _NODE_PORTS
    four, six = _INBOUND if isinstance(target, InboundAddress) else _SERVICES
    return six if ":" in target.address else four


def _by_name(protocol: object) -> Transport | None:
    return {"tcp": Transport.TCP, "udp": Transport.UDP}.get(str(protocol))
