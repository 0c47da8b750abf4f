"""Interception by nftables, through the distribution's binding of libnftables.

A table with ``flags owner`` (kernel 5.12) belongs to the netlink socket that made it: nobody
else can change it, ``nft flush ruleset`` passes it over, and it vanishes with its owner, also
on kill -9. The socket lives in the library's context, so one context serves for the whole life
of an interception.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from threading import Lock
from typing import Any

from edgemesh.kernel.netfilter.interception import (
    HeldConnection,
    Installed,
    Target,
    intercepted,
)
from edgemesh.kernel.netfilter.nft_elements import (
    TARGET_SETS,
    begin_ours,
    change_callers,
    change_held,
    change_ours,
    change_targets,
    ours,
    target_of,
)
from edgemesh.kernel.netfilter.routes import add_routes, remove_routes, routes_installed
from edgemesh.kernel.netfilter.ruleset import check, nft_ruleset
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import NetfilterSettings, ProxySettings

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
        # What is redirected is known by connection tracking.
        self._diverts = settings.mode == "tproxy"
        self._held: frozenset[HeldConnection] = frozenset()
        # Where callers are listed that are left alone, and come back one day.
        self._returns = self._diverts and proxy.intercept_default == "enabled"
        # None until this process has said so.
        self._callers: frozenset[str] | None = None
        # None until this process has looked.
        self._standing: frozenset[Target] | None = None

    def install(self) -> None:
        """See `Interception.install`."""
        found = self.describe()
        if found is None or found.fingerprint != _fingerprint(self._ruleset):
            self._replace(found)
        elif found.owned and not self._holds_table:
            raise self._foreign()
        self._standing = self.addresses()
        add_routes(self._settings)

    def update(
        self,
        added: Collection[Target],
        removed: Collection[Target],
        held: Collection[HeldConnection] = (),
        callers: frozenset[str] = frozenset(),
    ) -> None:
        """See `Interception.update`."""
        table = self._family_and_table
        held = frozenset(held) if self._diverts else frozenset()
        over = self._held - held
        coming, leaving = self._of_family(added), self._of_family(removed)
        before = self.addresses() if self._standing is None else self._standing
        standing = before.union(coming).difference(leaving)
        commands = change_targets("add", table, coming)
        commands += change_held("add", table, held - self._held)
        # nft refuses to delete what is not there; added first, it always is.
        commands += change_targets("add", table, leaving) + change_held("add", table, over)
        commands += change_targets("delete", table, leaving) + change_held("delete", table, over)
        if self._diverts:
            commands += change_ours(table, ours(before, self._held), ours(standing, held))
        commands += change_callers(table, self._callers, callers, returns=self._returns)
        if commands:
            self._change(commands)
        self._standing, self._held, self._callers = standing, held, callers

    def remove(self) -> None:
        """See `Interception.remove`."""
        if self.describe() is not None:
            self._change([f"delete table {self._family_and_table}"])
            self._holds_table = False
        self._standing = self._callers = None
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
            for name in TARGET_SETS
            for element in self._context.elements(self._family_and_table, name)
            if (target := target_of(name, element)) is not None
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
        table = self._family_and_table
        commands = [self._ruleset]
        kept: list[Target] = []
        if found is not None:
            commands.insert(0, f"delete table {table}")
            kept = self._of_family(self.addresses())
        commands += change_targets("add", table, kept) + change_held("add", table, self._held)
        if self._diverts:
            # Rules that others took away have taken along what they knew of open connections.
            again = self._standing is not None
            commands += begin_ours(table, ours(kept, self._held), any_port=again)
        if self._callers is not None:
            commands += change_callers(table, None, self._callers, returns=False)
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
