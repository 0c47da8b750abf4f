"""Which Service ports the kernel balances at all their addresses, and where others do not."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from edgemesh.model.services import PortKey, ServiceAddress


class Takeover:
    """Kept port by port, so that a change of one costs no look at the others."""

    __slots__ = ("_left", "_whole")

    def __init__(self) -> None:
        """Know of no port."""
        self._left: dict[PortKey, frozenset[ServiceAddress]] = {}
        self._whole: set[PortKey] = set()

    @property
    def left(self) -> Mapping[PortKey, frozenset[ServiceAddress]]:
        """Ports with addresses whose calls the kernel leaves alone, and these addresses."""
        return self._left

    @property
    def whole(self) -> int:
        """How many ports have no such address."""
        return len(self._whole)

    def note(
        self,
        key: PortKey,
        addresses: Collection[ServiceAddress],
        taken: Collection[ServiceAddress],
    ) -> None:
        """Take in how a port stands now.

        Args:
            key: of the port.
            addresses: where it is called; empty for one that is gone.
            taken: those of them whose calls the kernel balances.
        """
        self._left.pop(key, None)
        self._whole.discard(key)
        rest = frozenset(addresses).difference(taken)
        if rest:
            self._left[key] = rest
        elif addresses:
            self._whole.add(key)
