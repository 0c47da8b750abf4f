"""Interception by nftables, through the distribution's binding of libnftables.

A table with ``flags owner`` (kernel 5.12) belongs to the netlink socket that made it: nobody
else can change it, ``nft flush ruleset`` passes it over, and it vanishes with its owner, also
on kill -9. The socket lives in the library's context, so one context serves for the whole life
of an interception.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from threading import Lock
from typing import Any

from edgemesh.kernel.netfilter.interception import (
    HeldConnection,
    Installed,
    Target,
    intercepted,
)
from edgemesh.kernel.netfilter.routes import add_routes, remove_routes, routes_installed
from edgemesh.kernel.netfilter.ruleset import check, nft_ruleset
from edgemesh.model.errors import OperatorError
from edgemesh.model.services import InboundAddress, NodePort, ServiceAddress, Transport
from edgemesh.model.settings import NetfilterSettings, ProxySettings

_SERVICES = ("svc4", "svc6")
_INBOUND = ("inbound4", "inbound6")
_NODE_PORTS = "nodeports"
SETS = (*_SERVICES, *_INBOUND, _NODE_PORTS)
_HELD = ("held4", "held6")

# By number: the library looks names up in /etc/protocols, which slim containers lack.
_PROTOCOL_NUMBER = {Transport.TCP: 6, Transport.UDP: 17}
_TRANSPORT = {6: Transport.TCP, 17: Transport.UDP}
_COMMENT = re.compile(r'^\tcomment "(edgemesh .*)"$', re.MULTILINE)


class NftContext:
    """One libnftables context: text in, text out. It stays in its maker's network namespace."""

    def __init__(self) -> None:
        try:
            import nftables  # noqa: PLC0415 - the distribution's module, absent on some hosts
        except ImportError:
            raise OperatorError(
                "Python's nftables module is missing",
                "apt-get install python3-nftables, or choose backend iptables",
            ) from None
        self._nftables = nftables.Nftables()
        # The library's contexts are not thread-safe, and two threads may well meet here.
        self._lock = Lock()

    def run(self, commands: str) -> tuple[int, str, str]:
        """Run commands as one transaction; returns status, output and error text.

        What it lists leaves out the elements of sets.
        """
        with self._lock:
            self._nftables.set_json_output(False)
            self._nftables.set_terse_output(True)
            status, output, error = self._nftables.cmd(commands)
        return status, output, error

    def elements(self, table: str, name: str) -> list[list[Any]]:
        """The elements of a set of concatenations; none when there is no such set."""
        with self._lock:
            self._nftables.set_json_output(True)
            self._nftables.set_terse_output(False)
            self._nftables.set_numeric_proto_output(True)
            # A set's listing names no table: see nft_listing.py on tables in JSON.
            status, output, _ = self._nftables.cmd(f"list set {table} {name}")
        objects = json.loads(output)["nftables"] if status == 0 else []
        return [
            element["concat"] for item in objects for element in item.get("set", {}).get("elem", ())
        ]


class NftInterception:
    """See `Interception`.

    Args:
        settings, proxy: as configured.
        owned: whether a long-lived process holds this. Its table vanishes with it, unless the
            fail mode is ``closed``.

    Raises:
        OperatorError: a setting that no rule set can hold, or the binding is missing.
    """

    def __init__(self, settings: NetfilterSettings, proxy: ProxySettings, *, owned: bool) -> None:
        check(settings)
        self._settings = settings
        self._family_and_table = f"inet {settings.table}"
        self._vanishes = owned and settings.fail == "open"
        self._ruleset = nft_ruleset(settings, proxy, owned=self._vanishes)
        self._context = NftContext()
        self._holds_table = False
        self._held: frozenset[HeldConnection] = frozenset()

    def install(self) -> None:
        """See `Interception.install`."""
        found = self.describe()
        if found is None or found.fingerprint != _fingerprint(self._ruleset):
            self._replace(found)
        elif found.owned and not self._holds_table:
            raise self._foreign()
        add_routes(self._settings)

    def update(
        self,
        added: Collection[Target],
        removed: Collection[Target],
        held: Collection[HeldConnection] = (),
    ) -> None:
        """See `Interception.update`."""
        table = self._family_and_table
        # In redirect mode connection tracking knows what was translated.
        held = frozenset(held) if self._settings.mode == "tproxy" else frozenset()
        over = self._held - held
        leaving = self._of_family(removed)
        commands = _elements("add", table, self._of_family(added))
        commands += _held_elements("add", table, held - self._held)
        # nft refuses to delete what is not there; added first, it always is.
        commands += _elements("add", table, leaving) + _held_elements("add", table, over)
        commands += _elements("delete", table, leaving) + _held_elements("delete", table, over)
        if commands:
            self._change(commands)
        self._held = held

    def remove(self) -> None:
        """See `Interception.remove`."""
        if self.describe() is not None:
            self._change([f"delete table {self._family_and_table}"])
            self._holds_table = False
        remove_routes(self._settings)

    def installed(self) -> bool:
        """See `Interception.installed`."""
        found = self.describe()
        return (
            found is not None
            and found.fingerprint == _fingerprint(self._ruleset)
            and routes_installed(self._settings)
        )

    def addresses(self) -> frozenset[Target]:
        """See `Interception.addresses`."""
        return frozenset(
            target
            for name in SETS
            for element in self._context.elements(self._family_and_table, name)
            if (target := _target(name, element)) is not None
        )

    def describe(self) -> Installed | None:
        """See `Interception.describe`."""
        status, text, _ = self._context.run(f"list table {self._family_and_table}")
        if status:
            return None
        return Installed(
            fingerprint=_fingerprint(text),
            owned="\n\tflags owner\n" in text,
            rules=tuple(text.splitlines()),
        )

    def close(self) -> None:
        """See `Interception.close`."""
        if self._vanishes:
            self.remove()

    def _of_family(self, targets: Iterable[Target]) -> list[Target]:
        return intercepted(targets, self._settings.family)

    def _replace(self, found: Installed | None) -> None:
        commands = [self._ruleset]
        if found is not None:
            commands.insert(0, f"delete table {self._family_and_table}")
            kept = self._of_family(self.addresses())
            commands += _elements("add", self._family_and_table, kept)
        commands += _held_elements("add", self._family_and_table, self._held)
        self._change(commands)
        self._holds_table = True

    def _change(self, commands: list[str]) -> None:
        status, _, error = self._context.run("\n".join(commands))
        if status == 0:
            return
        found = self.describe()
        if found is not None and found.owned and not self._holds_table:
            raise self._foreign()
        problem = error.partition("\n")[0].removeprefix("Error: ") or "no reason given"
        raise OperatorError(f"nftables refuses to change table {self._family_and_table}: {problem}")

    def _foreign(self) -> OperatorError:
        return OperatorError(
            f"nft table {self._family_and_table} belongs to a running agent",
            "it goes when that agent ends; until then the agent keeps it",
        )


def _fingerprint(text: str) -> str:
    found = _COMMENT.search(text)
    return found[1] if found else ""


def _elements(command: str, table: str, targets: Iterable[Target]) -> list[str]:
    by_set: dict[str, list[str]] = {}
    for target in targets:
        address = "" if isinstance(target, NodePort) else f"{target.address} . "
        element = f"{address}{_PROTOCOL_NUMBER[target.transport]} . {target.port}"
        by_set.setdefault(_set_of(target), []).append(element)
    return _commands(command, table, by_set)


def _held_elements(command: str, table: str, held: Iterable[HeldConnection]) -> list[str]:
    by_set: dict[str, list[str]] = {}
    for connection in held:
        # A link-local address comes with its interface, which is no part of a packet.
        parts = [f"{host.partition('%')[0]} . {port}" for host, port in connection]
        name = _HELD[":" in connection.destination[0]]
        by_set.setdefault(name, []).append(" . ".join(parts))
    return _commands(command, table, by_set)


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


def _target(name: str, concatenation: list[Any]) -> Target | None:
    *address, protocol, port = concatenation
    transport = _TRANSPORT.get(protocol) or _by_name(protocol)
    if transport is None:
        return None
    if name == _NODE_PORTS:
        return NodePort(transport, port)
    kind = InboundAddress if name in _INBOUND else ServiceAddress
    return kind(address[0], transport, port)


def _by_name(protocol: object) -> Transport | None:
    return {"tcp": Transport.TCP, "udp": Transport.UDP}.get(str(protocol))
