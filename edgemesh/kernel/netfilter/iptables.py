"""Interception by iptables-restore and ip6tables-restore, for hosts without nftables.

Our chains stand in the tables mangle and nat, entered by a jump that comes first in PREROUTING
and OUTPUT. Other programs insert theirs before it when they start later (kube-proxy, Docker),
so `install` is to be repeated now and then: it moves the jump back to the front.

iptables rules have no owner. After kill -9 they stay until somebody removes them (the agent's
guard, in fail mode open), and the TPROXY target drops what it finds no listener for.
"""

from __future__ import annotations

import dataclasses
import re
import socket
from collections.abc import Collection, Mapping

from edgemesh.kernel.netfilter.interception import (
    HeldConnection,
    Installed,
    Target,
    intercepted,
)
from edgemesh.kernel.netfilter.matches import choose_matches, service_table
from edgemesh.kernel.netfilter.routes import (
    add_routes,
    families,
    remove_routes,
    routes_installed,
)
from edgemesh.kernel.netfilter.ruleset import (
    chains,
    check,
    iptables_fingerprint,
    iptables_ruleset,
)
from edgemesh.kernel.netfilter.xtables import Xtables
from edgemesh.model.settings import NetfilterSettings, ProxySettings

_BUILT_IN = ("PREROUTING", "OUTPUT")
_OWN = (*_BUILT_IN, "CALLED", "CALLERS", "SERVICES", "INBOUND", "DIVERT")
_COMMENT = re.compile(r'--comment "(edgemesh .*)"$')

Saved = Mapping[str, list[str]]


class IptablesInterception:
    """See `Interception`.

    Args:
        settings, proxy: as configured.
        owned: whether a long-lived process holds this, and so takes the rules away at its end.

    Raises:
        OperatorError: a setting that no rule set can hold, or iptables is missing.
    """

    def __init__(self, settings: NetfilterSettings, proxy: ProxySettings, *, owned: bool) -> None:
        check(settings)
        self._settings = settings
        self._proxy = proxy
        self._leaves = owned and settings.fail == "open"
        self._families = [
            Xtables(4 if family == socket.AF_INET else 6) for family in families(settings)
        ]
        self._matches = choose_matches(settings, proxy, self._families)
        # None until this process has said so.
        self._callers: frozenset[str] | None = None
        self._prefix = chains(settings)
        self._rulesets = {
            family.version: iptables_ruleset(settings, proxy, family.version)
            for family in self._families
        }

    def install(self) -> None:
        """See `Interception.install`."""
        saved = {family.version: family.saved() for family in self._families}
        if not all(self._stands(version, tables) for version, tables in saved.items()):
            kept = intercepted(self.addresses(), self._settings.family)
            self._matches.prepare(kept)
            for family in self._families:
                self._load(family, saved[family.version], kept)
            if self._callers is not None:
                self._matches.list_callers(None, self._callers)
        add_routes(self._settings)

    def update(
        self,
        added: Collection[Target],
        removed: Collection[Target],
        held: Collection[HeldConnection] = (),  # noqa: ARG002 - the connection mark tells them
        callers: frozenset[str] = frozenset(),
    ) -> None:
        """See `Interception.update`."""
        family = self._settings.family
        # First: those who are to be left alone are not to be met by what is added.
        if callers != self._callers:
            self._matches.list_callers(self._callers, callers)
            self._callers = callers
        self._matches.change(intercepted(added, family), intercepted(removed, family))

    def remove(self) -> None:
        """See `Interception.remove`."""
        for version in (4, 6):
            family = Xtables(version)
            if family.available():
                self._unload(family, family.saved())
        everything = dataclasses.replace(self._settings, family="both")
        choose_matches(everything, self._proxy, [Xtables(4), Xtables(6)]).discard()
        self._callers = None
        remove_routes(self._settings)

    def installed(self) -> bool:
        """See `Interception.installed`."""
        return all(
            self._stands(family.version, family.saved()) for family in self._families
        ) and routes_installed(self._settings)

    def addresses(self) -> frozenset[Target]:
        """See `Interception.addresses`."""
        return self._matches.read()

    def describe(self) -> Installed | None:
        """See `Interception.describe`."""
        rules = [
            f"{'iptables' if family.version == 4 else 'ip6tables'} -t {table} {line}"
            for family in self._families
            for table, lines in family.saved().items()
            for line in lines
            if line.startswith(tuple(f"-A {self._chain(name)} " for name in _OWN))
            or line in {self._jump(name) for name in _BUILT_IN}
        ]
        if not rules:
            return None
        found = next((match[1] for rule in rules if (match := _COMMENT.search(rule))), "")
        return Installed(fingerprint=found, owned=False, rules=tuple(rules))

    def close(self) -> None:
        """See `Interception.close`."""
        if self._leaves:
            self.remove()

    def _chain(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _jump(self, built_in: str) -> str:
        return f"-A {built_in} -j {self._chain(built_in)}"

    def _fingerprint_rule(self, version: int) -> str:
        name = iptables_fingerprint(self._settings, self._rulesets[version])
        return f'-A {self._chain("PREROUTING")} -m comment --comment "{name}"'

    def _stands(self, version: int, saved: Saved) -> bool:
        rule = self._fingerprint_rule(version)
        return all(
            rule in saved.get(table, ()) and all(self._leads(saved[table], b) for b in _BUILT_IN)
            for table in _tables(self._rulesets[version])
        )

    def _leads(self, lines: list[str], built_in: str) -> bool:
        rules = [line for line in lines if line.startswith(f"-A {built_in} ")]
        jump = self._jump(built_in)
        return rules[:1] == [jump] and rules.count(jump) == 1

    def _load(self, family: Xtables, saved: Saved, kept: Collection[Target]) -> None:
        text = self._rulesets[family.version]
        before = family.built_in()
        loaded = _tables(text)
        for table in loaded:
            head, body = text.split(f"*{table}\n", 1)
            rules = [self._fingerprint_rule(family.version)]
            if table == service_table(self._settings):
                rules += self._matches.rules(family.version, kept)
                rules += self._matches.caller_rules(family.version, frozenset())
            body = body.replace("COMMIT", "\n".join([*rules, "COMMIT"]), 1)
            deletions = self._deletions(saved.get(table, []))
            # iptables-restore wants declarations first: the jump's line is where they end.
            first_jump = f"-I {_BUILT_IN[0]} 1 "
            body = body.replace(first_jump, "".join([*deletions, first_jump]), 1)
            text = f"{head}*{table}\n{body}"
        family.restore(text)
        self._mark_what_is_new(family, before, loaded)
        self._unload(family, {t: lines for t, lines in saved.items() if t not in loaded})

    def _mark_what_is_new(
        self, family: Xtables, before: Mapping[str, frozenset[str]], loaded: list[str]
    ) -> None:
        # The marks are empty chains in the kernel, for the process that removes may be another.
        after = family.built_in()
        text = ""
        for table in loaded:
            new = sorted(after.get(table, frozenset()) - before.get(table, frozenset()))
            marks = [*new, *(["TABLE"] if table in after and table not in before else [])]
            if marks:
                lines = [f":{self._chain(f'NEW-{mark}')} - [0:0]\n" for mark in marks]
                text += "".join([f"*{table}\n", *lines, "COMMIT\n"])
        if text:
            family.restore(text)

    def _unload(self, family: Xtables, saved: Saved) -> None:
        text = "".join(self._removal(table, lines) for table, lines in saved.items())
        if not text:
            return
        family.restore(text)
        for table, lines in saved.items():
            marks = [
                line.split()[0].removeprefix(f":{self._chain('NEW-')}")
                for line in lines
                if line.startswith(f":{self._chain('NEW-')}")
            ]
            built_in = [mark for mark in marks if mark != "TABLE"]
            family.drop_built_in(table, built_in, whole="TABLE" in marks)

    def _deletions(self, lines: list[str]) -> list[str]:
        jumps = {self._jump(built_in) for built_in in _BUILT_IN}
        return [line.replace("-A ", "-D ", 1) + "\n" for line in lines if line in jumps]

    def _removal(self, table: str, lines: list[str]) -> str:
        """The text that takes our chains out of a table, "" when it has none."""
        declared = [line.split()[0][1:] for line in lines if line.startswith(":")]
        own = {self._chain(name) for name in _OWN}
        ours = [
            chain for chain in declared if chain in own or chain.startswith(self._chain("NEW-"))
        ]
        if not ours:
            return ""
        commands = [f"-F {chain}\n" for chain in ours] + [f"-X {chain}\n" for chain in ours]
        return "".join([f"*{table}\n", *self._deletions(lines), *commands, "COMMIT\n"])


def _tables(ruleset: str) -> list[str]:
    return re.findall(r"^\*(\w+)$", ruleset, re.MULTILINE)
