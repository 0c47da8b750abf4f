"""How iptables rules know what to divert: by ip sets, else by a rule for each address."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from edgemesh.kernel.commands import find_tool, must_run, run_tool
from edgemesh.kernel.netfilter.interception import Target
from edgemesh.kernel.netfilter.ruleset import chains
from edgemesh.kernel.netfilter.xtables import Xtables
from edgemesh.model.services import InboundAddress, NodePort, ServiceAddress, Transport
from edgemesh.model.settings import NetfilterSettings, ProxySettings

Address = ServiceAddress | InboundAddress

_MAX_ELEMENTS = 1 << 20  # ipset's own default, 65536, is too small for large clusters
_LOOPBACK = {4: "127.0.0.0/8", 6: "::1/128"}


class Matches(Protocol):
    """Fills the chains EDGEMESH-CALLERS, EDGEMESH-SERVICES and EDGEMESH-INBOUND."""

    def prepare(self, targets: Iterable[Target]) -> None:
        """Make what the rules refer to, before they are loaded."""

    def rules(self, version: int, targets: Iterable[Target]) -> list[str]:
        """The chains' rules in one family."""

    def change(self, added: Sequence[Target], removed: Sequence[Target]) -> None:
        """Change what is matched, after the rules were loaded."""

    def caller_rules(self, version: int, callers: frozenset[str]) -> list[str]:
        """The rules in one family of the chain that asks whose call it is."""

    def list_callers(self, before: frozenset[str] | None, after: frozenset[str]) -> None:
        """Change who is listed there, after the rules were loaded; None when that is not known."""

    def read(self) -> frozenset[Target]:
        """What is matched now."""

    def discard(self) -> None:
        """Remove what `prepare` made, after the rules are gone."""


def choose_matches(
    settings: NetfilterSettings, proxy: ProxySettings, families: Sequence[Xtables]
) -> Matches:
    """Ip sets where the kernel, ipset and iptables all know them."""
    only_listed = proxy.intercept_default == "disabled"
    if (
        find_tool("ipset") is not None
        and run_tool(["ipset", "list", "-name"]).returncode == 0
        and all(family.understands("set") for family in families)
    ):
        versions = [family.version for family in families]
        return SetMatches(settings, versions, only_listed=only_listed)
    return RuleMatches(settings, families, only_listed=only_listed)


class SetMatches:
    """Hash sets of addresses for each family, and one bitmap of node ports for each transport.

    Args:
        settings: for the names.
        versions: of IP, 4 and 6.
        only_listed: whether the calls of those alone are diverted who are listed.
    """

    def __init__(
        self, settings: NetfilterSettings, versions: Sequence[int], *, only_listed: bool
    ) -> None:
        prefix = chains(settings)
        self._only_listed = only_listed
        self._caller_chain = f"{prefix}-CALLERS"
        self._callers = {version: f"{settings.table}-call{version}" for version in versions}
        self._divert = f"{prefix}-DIVERT"
        self._chains: Mapping[type[Address], str] = {
            ServiceAddress: f"{prefix}-SERVICES",
            InboundAddress: f"{prefix}-INBOUND",
        }
        self._addresses: Mapping[tuple[type[Address], int], str] = {
            (kind, version): f"{settings.table}-{short}{version}"
            for kind, short in ((ServiceAddress, "svc"), (InboundAddress, "in"))
            for version in versions
        }
        self._ports = {
            transport: f"{settings.table}-{transport.lower()}" for transport in Transport
        }

    def prepare(self, targets: Iterable[Target]) -> None:
        """See `Matches.prepare`."""
        lines = [
            f"create {name} hash:ip,port family {'inet' if version == 4 else 'inet6'}"
            f" maxelem {_MAX_ELEMENTS}"
            for (_, version), name in self._addresses.items()
        ]
        lines += [f"create {name} bitmap:port range 0-65535" for name in self._ports.values()]
        lines += [
            f"create {name} hash:ip family {'inet' if version == 4 else 'inet6'}"
            f" maxelem {_MAX_ELEMENTS}"
            for version, name in self._callers.items()
        ]
        self._restore([*lines, *self._lines("add", targets)])

    def rules(self, version: int, targets: Iterable[Target]) -> list[str]:
        """See `Matches.rules`. Addresses are in the sets, so the rules do not depend on them."""
        del targets
        leave = f"-g {self._divert}"
        addresses = [
            f"-A {chain} -m set --match-set {self._addresses[kind, version]} dst,dst {leave}"
            for kind, chain in self._chains.items()
        ]
        start = f"-A {self._chains[ServiceAddress]}"
        return [
            *addresses,
            *(
                f"{start} {_to_node(version, transport)} -m set --match-set {name} dst {leave}"
                for transport, name in self._ports.items()
            ),
        ]

    def caller_rules(self, version: int, callers: frozenset[str]) -> list[str]:
        """See `Matches.caller_rules`. Addresses are in the sets."""
        del callers
        is_listed = f"-m set --match-set {self._callers[version]} src"
        services = self._chains[ServiceAddress]
        return _by_callers(self._caller_chain, [is_listed], services, only=self._only_listed)

    def list_callers(self, before: frozenset[str] | None, after: frozenset[str]) -> None:
        """See `Matches.list_callers`."""
        lines = []
        if before is None:
            lines = [f"flush {name}" for name in self._callers.values()]
            before = frozenset()
        self._restore(
            [
                *lines,
                *self._caller_lines("add", after - before),
                *self._caller_lines("del", before - after),
            ]
        )

    def change(self, added: Sequence[Target], removed: Sequence[Target]) -> None:
        """See `Matches.change`."""
        self._restore([*self._lines("add", added), *self._lines("del", removed)])

    def read(self) -> frozenset[Target]:
        """See `Matches.read`."""
        found: list[Target] = []
        for (kind, _), name in self._addresses.items():
            found += (kind(*_parts(text)) for text in _elements(name))
        for transport, name in self._ports.items():
            found += (NodePort(transport, int(text)) for text in _elements(name))
        return frozenset(found)

    def discard(self) -> None:
        """See `Matches.discard`."""
        here = run_tool(["ipset", "list", "-name"]).stdout.split()
        names = [*self._addresses.values(), *self._ports.values(), *self._callers.values()]
        self._restore([f"destroy {name}" for name in names if name in here])

    def _lines(self, command: str, targets: Iterable[Target]) -> list[str]:
        return [
            f"{command} {self._ports[target.transport]} {target.port}"
            if isinstance(target, NodePort)
            else f"{command} {self._addresses[type(target), 6 if ':' in target.address else 4]} "
            f"{target.address},{target.transport.lower()}:{target.port}"
            for target in targets
        ]

    def _caller_lines(self, command: str, callers: Iterable[str]) -> list[str]:
        named = ((self._callers.get(6 if ":" in each else 4), each) for each in callers)
        return [f"{command} {name} {each}" for name, each in named if name]

    @staticmethod
    def _restore(lines: Sequence[str]) -> None:
        if lines:
            must_run(["ipset", "-exist", "restore"], "\n".join([*lines, ""]))


def _elements(name: str) -> list[str]:
    saved = run_tool(["ipset", "save", name]).stdout.splitlines()
    return [line.split()[2] for line in saved if line.startswith("add ")]


def _parts(text: str) -> tuple[str, Transport, int]:
    address, _, rest = text.partition(",")
    transport, _, port = rest.partition(":")
    return address, Transport(transport.upper()), int(port)


class RuleMatches:
    """One rule for each address: a packet to no Service passes them all, so a makeshift.

    Args:
        settings: for the names and the table.
        families: where the rules stand.
        only_listed: whether the calls of those alone are diverted who are listed.
    """

    _ADDRESS = re.compile(r"^-A \S+ -d (\S+)/\d+ -p (tcp|udp) .*--dport (\d+) -g ")
    _PORT = re.compile(r"^-A \S+ ! -d \S+ -p (tcp|udp) .*--dport (\d+) -g ")

    def __init__(
        self, settings: NetfilterSettings, families: Sequence[Xtables], *, only_listed: bool
    ) -> None:
        self._only_listed = only_listed
        self._callers = f"{chains(settings)}-CALLERS"
        self._divert = f"{chains(settings)}-DIVERT"
        self._services = f"{chains(settings)}-SERVICES"
        self._inbound = f"{chains(settings)}-INBOUND"
        self._table = service_table(settings)
        self._families = families

    def prepare(self, targets: Iterable[Target]) -> None:
        """See `Matches.prepare`: rules refer to nothing."""

    def rules(self, version: int, targets: Iterable[Target]) -> list[str]:
        """See `Matches.rules`."""
        return [
            f"-A {self._chain(target)} {_match(version, target)} -g {self._divert}"
            for target in targets
            if isinstance(target, NodePort) or (":" in target.address) == (version == 6)
        ]

    def caller_rules(self, version: int, callers: frozenset[str]) -> list[str]:
        """See `Matches.caller_rules`."""
        length = 32 if version == 4 else 128
        listed = [
            f"-s {each}/{length}" for each in sorted(callers) if (":" in each) == (version == 6)
        ]
        return _by_callers(self._callers, listed, self._services, only=self._only_listed)

    def list_callers(self, before: frozenset[str] | None, after: frozenset[str]) -> None:
        """See `Matches.list_callers`: the whole chain is written anew, for its order matters."""
        del before
        for family in self._families:
            lines = [f"-F {self._callers}", *self.caller_rules(family.version, after)]
            family.restore("\n".join([f"*{self._table}", *lines, "COMMIT", ""]))

    def change(self, added: Sequence[Target], removed: Sequence[Target]) -> None:
        """See `Matches.change`."""
        here = self.read()
        for family in self._families:
            lines = self.rules(family.version, [target for target in added if target not in here])
            lines += [
                line.replace("-A ", "-D ", 1)
                for line in self.rules(
                    family.version, [target for target in removed if target in here]
                )
            ]
            if lines:
                family.restore("\n".join([f"*{self._table}", *lines, "COMMIT", ""]))

    def read(self) -> frozenset[Target]:
        """See `Matches.read`."""
        return frozenset(
            target
            for family in self._families
            for line in family.saved().get(self._table, ())
            if line.startswith((f"-A {self._services} ", f"-A {self._inbound} "))
            and (target := self._target(line)) is not None
        )

    def discard(self) -> None:
        """See `Matches.discard`: the rules went with their chain."""

    def _chain(self, target: Target) -> str:
        return self._inbound if isinstance(target, InboundAddress) else self._services

    def _target(self, line: str) -> Target | None:
        if found := self._ADDRESS.match(line):
            inbound = line.startswith(f"-A {self._inbound} ")
            kind = InboundAddress if inbound else ServiceAddress
            return kind(found[1], Transport(found[2].upper()), int(found[3]))
        if found := self._PORT.match(line):
            return NodePort(Transport(found[1].upper()), int(found[2]))
        return None


def service_table(settings: NetfilterSettings) -> str:
    """The iptables table that holds EDGEMESH-SERVICES."""
    return "mangle" if settings.mode == "tproxy" else "nat"


def _by_callers(chain: str, listed: Iterable[str], services: str, *, only: bool) -> list[str]:
    """The rules that lead calls to the chain of Services.

    Args:
        chain: where they stand.
        listed: matches, of which one is true for every caller that is listed.
        services: that chain.
        only: whether it is these calls that go there, or all others.
    """
    if only:
        return [f"-A {chain} {match} -g {services}" for match in listed]
    return [*(f"-A {chain} {match} -j RETURN" for match in listed), f"-A {chain} -j {services}"]


def _match(version: int, target: Target) -> str:
    port = f"-m {target.transport.lower()} --dport {target.port}"
    if isinstance(target, NodePort):
        return f"{_to_node(version, target.transport)} {port}"
    length = 32 if version == 4 else 128
    return f"-d {target.address}/{length} -p {target.transport.lower()} {port}"


def _to_node(version: int, transport: Transport) -> str:
    return (
        f"! -d {_LOOPBACK[version]} -p {transport.lower()}"
        " -m addrtype --dst-type LOCAL -m conntrack --ctdir ORIGINAL"
    )
