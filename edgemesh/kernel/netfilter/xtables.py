"""One family's iptables: what stands there, and changes in whole transactions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgemesh.kernel.commands import find_tool, must_run, run_tool
from edgemesh.kernel.nft_listing import ListedTable, parse_listing

# What another program holds of iptables-legacy's lock is waited for this long.
_LOCK_SECONDS = 10


class Xtables:
    """iptables (version 4) or ip6tables (version 6), in either variant.

    Args:
        version: 4 or 6.
    """

    def __init__(self, version: int) -> None:
        self.version = version
        self._name = "iptables" if version == 4 else "ip6tables"
        self._nft_family = "ip" if version == 4 else "ip6"

    def available(self) -> bool:
        """Whether the tool is installed."""
        return find_tool(f"{self._name}-restore") is not None

    def saved(self) -> dict[str, list[str]]:
        """Declarations and rules of every table, as iptables-save prints them."""
        tables: dict[str, list[str]] = {}
        lines: list[str] = []
        for line in must_run([f"{self._name}-save"], package="iptables").splitlines():
            if line.startswith("*"):
                lines = tables.setdefault(line[1:], [])
            elif line and not line.startswith("#") and line != "COMMIT":
                lines.append(line)
        return tables

    def restore(self, text: str) -> None:
        """Apply a change; each table's part is one transaction.

        Raises:
            OperatorError: iptables-restore refuses it.
        """
        wait = f"--wait={_LOCK_SECONDS}"
        must_run([f"{self._name}-restore", "--noflush", wait], text, package="iptables")

    def understands(self, match: str) -> bool:
        """Whether the tool has an extension, such as ``set``."""
        return run_tool([self._name, "-m", match, "--help"], package="iptables").returncode == 0

    def built_in(self) -> Mapping[str, frozenset[str]]:
        """Tables and built-in chains that exist now.

        iptables-nft makes them when they are first used and never takes them away; a table has
        to be compared before and after to leave the ruleset as it was. Empty for iptables-legacy,
        whose tables are always there, and where there is no nft to look with.
        """
        if find_tool("nft") is None:
            return {}
        return {
            table.name: frozenset(chain.name for chain in table.chains if chain.hook)
            for table in self._listed()
        }

    def drop_built_in(self, table: str, chains: Iterable[str], *, whole: bool) -> None:
        """Take away built-in chains that nothing uses, and with ``whole`` the empty table."""
        for chain in chains:
            # Fails while somebody has rules there, and then it has to stay.
            run_tool([self._name, "-t", table, "-X", chain], package="iptables")
        if whole and any(each.name == table and each.empty for each in self._listed()):
            run_tool(["nft", "delete", "table", self._nft_family, table])

    def _listed(self) -> list[ListedTable]:
        return parse_listing(run_tool(["nft", "-t", "list", "ruleset", self._nft_family]).stdout)
