"""The rows that one Service port takes in the maps of the connect path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgemesh.kernel.bpf import connect_layout as layout
from edgemesh.kernel.bpf.connect_layout import EntryFlag
from edgemesh.model.connect import ConnectEndpoint, ConnectPort
from edgemesh.policy.connect.alias import alias_table

Row = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Table:
    """The endpoints of calls in one address family, under a number that is never used again.

    Args:
        number: 1 to 2**32 - 1.
        endpoints: one for each slot.
        turns: they are taken one after the other, instead of by chance.
        sticky: the programs must find an endpoint's slot by its id.
    """

    number: int
    endpoints: tuple[ConnectEndpoint, ...]
    turns: bool
    sticky: bool

    def serves(self, port: ConnectPort, endpoints: tuple[ConnectEndpoint, ...]) -> bool:
        """Whether a new table for this would say the same."""
        wanted = (endpoints, port.even, port.affinity_seconds > 0)
        return (self.endpoints, self.turns, self.sticky) == wanted

    def slots(self) -> Iterator[Row]:
        """Its rows of ``tables``."""
        if not self.endpoints:
            return
        chances = alias_table([endpoint.share for endpoint in self.endpoints])
        values = map(layout.slot, self.endpoints, chances)
        yield from zip(self.slot_keys(), values, strict=True)

    def slot_keys(self) -> Iterator[bytes]:
        """The keys of these rows."""
        for number in range(len(self.endpoints)):
            yield layout.TABLE_SLOT.pack(self.number, number)

    def members(self) -> Iterator[Row]:
        """Its rows of ``members``."""
        for number, key in enumerate(self.member_keys()):
            yield key, layout.NUMBER.pack(number)

    def member_keys(self) -> Iterator[bytes]:
        """The keys of these rows."""
        if self.sticky:
            for endpoint in self.endpoints:
                yield layout.MEMBER.pack(self.number, endpoint.id)


@dataclass(frozen=True, slots=True)
class Standing:
    """A Service port as the maps have it."""

    port: ConnectPort
    four: Table
    six: Table

    def entries(self) -> Iterator[Row]:
        """Its rows of ``addresses``."""
        for address in self.port.addresses:
            key = layout.called(address)
            table = self.six if ":" in address.address else self.four
            slots = len(table.endpoints)
            yield key, layout.entry(key, self.port, table.number, slots, self._flags(table))

    def called(self) -> set[bytes]:
        """The keys of its rows of ``addresses``."""
        return {layout.called(address) for address in self.port.addresses}

    def tables(self) -> tuple[Table, Table]:
        """Those of both address families."""
        return self.four, self.six

    def endpoint_ids(self) -> set[int]:
        """Whom its calls may go to."""
        return {endpoint.id for endpoint in (*self.four.endpoints, *self.six.endpoints)}

    def _flags(self, table: Table) -> EntryFlag:
        if not table.endpoints and self.port.refusal is None:
            return EntryFlag.LEFT_ALONE
        return EntryFlag.TURNS if table.turns else EntryFlag(0)
