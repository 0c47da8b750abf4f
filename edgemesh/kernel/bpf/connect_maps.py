"""The maps of the connect path: Service ports go in, counts and events come out.

A service's endpoints are a table of slots under a number of its own. A change writes a whole new
table, then replaces the one row that names it, and removes the old table a while later: no
connection ever sees half a service, whenever it looks.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, Protocol, Self

from edgemesh.kernel.bpf import connect_layout as layout
from edgemesh.kernel.bpf.connect_callers import CallerList
from edgemesh.kernel.bpf.connect_destroy import destroy_connections
from edgemesh.kernel.bpf.connect_flags import EndpointFlags
from edgemesh.kernel.bpf.connect_layout import (
    ConnectEvent,
    EndpointCounts,
    EndpointFlag,
    PortCounts,
    Touched,
)
from edgemesh.kernel.bpf.connect_tables import Standing, Table
from edgemesh.kernel.bpf.connect_word import AgentWord
from edgemesh.kernel.bpf.maps import Map
from edgemesh.kernel.bpf.ringbuf import RingBuffer
from edgemesh.model.connect import ConnectEndpoint, ConnectPort

# A program that runs still uses what it found; counts are read once more before they go.
_GRACE_SECONDS: Final = 2.0
# Tables, ports and endpoints that are removed by one call.
_AT_ONCE: Final = 1000
_LAST_NUMBER: Final = (1 << 32) - 1


class OpensMaps(Protocol):
    """Where pinned maps are opened by their names in C: ``loader.Loaded``."""

    def map(self, name: str) -> Map:
        """Open one, which the caller closes.

        Raises:
            OSError: there is none.
        """
        ...


@dataclass(slots=True)
class _Change:
    """What is written for some ports before any call goes by it."""

    standing: list[Standing] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    new_ports: set[int] = field(default_factory=set)
    new_endpoints: set[int] = field(default_factory=set)


class ConnectMaps:
    """See the module. Calls take microseconds for one port and block for no longer than that.

    One thread at a time puts, removes, sets and expires. `renew_lease`, counts and events may
    be asked for by another meanwhile.

    Ownership: it opens the maps and closes them; a context manager.

    Args:
        loaded: where the programs are pinned.

    Attributes:
        callers: whose calls are balanced.

    Raises:
        OSError: a map is not there.
    """

    def __init__(self, loaded: OpensMaps) -> None:
        with ExitStack() as stack:
            self._word = AgentWord(stack.enter_context(loaded.map("agent")))
            self._addresses = stack.enter_context(loaded.map("addresses"))
            self._port_states = stack.enter_context(loaded.map("port_states"))
            self._tables = stack.enter_context(loaded.map("tables"))
            self._members = stack.enter_context(loaded.map("members"))
            self._affinity = stack.enter_context(loaded.map("affinity"))
            self._endpoint_states = stack.enter_context(loaded.map("endpoints"))
            self.callers = CallerList(stack.enter_context(loaded.map("listed")), self._word)
            flags = stack.enter_context(loaded.map("endpoint_flags"))
            self._flags = EndpointFlags(flags, self._word)
            self._datagrams = stack.enter_context(loaded.map("datagrams"))
            self._answers = stack.enter_context(loaded.map("answers"))
            self._sockets = stack.enter_context(loaded.map("sockets"))
            self._touched = stack.enter_context(loaded.map("touched"))
            self._events = stack.enter_context(RingBuffer(loaded.map("connect_events")))
            self._stack = stack.pop_all()
        # Sockets outlive agents that take over from one another, and remember such numbers.
        self._born = secrets.randbelow(_LAST_NUMBER)
        self._forget()

    def _forget(self) -> None:
        self._standing: dict[int, Standing] = {}
        # Whose an address is, by its key.
        self._callees: dict[bytes, int] = {}
        # Ids that have a state in the maps.
        self._ports: set[int] = set()
        self._endpoints: set[int] = set()
        # What has gone since when, monotonic seconds, the oldest first.
        self._old_tables: deque[tuple[float, Table]] = deque()
        self._old_ports: dict[int, float] = {}
        self._old_endpoints: dict[int, float] = {}
        self._last_table = 0

    def __enter__(self) -> Self:
        """The maps themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close them; what is in them stays."""
        self.close()

    def close(self) -> None:
        """Close the descriptors; a second call does nothing."""
        self._stack.close()

    def put(self, port: ConnectPort) -> None:
        """Add a Service port or replace it; what is counted and open stays.

        Raises:
            OSError: E2BIG where a map is full; calls go by what was there before.
        """
        self.put_many((port,))

    def put_many(self, ports: Sequence[ConnectPort]) -> None:
        """The same for many, of which either all are there in the end or none.

        An address that another port had belongs to the one that was put last.
        """
        change = _Change()
        for port in {port.id: port for port in ports}.values():
            self._prepare(port, change)
        try:
            self._write(change)
            entries = [row for standing in change.standing for row in standing.entries()]
            self._addresses.update_many(entries)
        except OSError:
            self._take_back(change)
            raise
        now = time.monotonic()
        for standing in change.standing:
            self._settle(standing, now)

    def remove(self, port_id: int) -> None:
        """Leave the calls of a Service port alone; connections that it has live on."""
        self.remove_many((port_id,))

    def remove_many(self, port_ids: Sequence[int]) -> None:
        """The same for many; those that are not there do not matter."""
        now = time.monotonic()
        for port_id in port_ids:
            standing = self._standing.pop(port_id, None)
            if standing is None:
                continue
            self._disown(port_id, standing.called())
            self._old_ports[port_id] = now
            self._old_tables.extend((now, table) for table in standing.tables())
            self._retire(standing.endpoint_ids(), now)

    def expire(self, now: float) -> None:
        """Remove what was replaced or removed a while ago; to be called every second or so.

        What is much is removed by several calls, for none of them to take long.

        An endpoint is counted on until its last connection is closed.

        Args:
            now: monotonic seconds.
        """
        until = now - _GRACE_SECONDS
        tables: list[Table] = []
        while self._old_tables and self._old_tables[0][0] <= until and len(tables) < _AT_ONCE:
            tables.append(self._old_tables.popleft()[1])
        self._tables.delete_many([key for table in tables for key in table.slot_keys()])
        self._members.delete_many([key for table in tables for key in table.member_keys()])
        ports = _ended(self._old_ports, until)
        self._port_states.delete_many([layout.NUMBER.pack(port_id) for port_id in ports])
        self._ports.difference_update(ports)
        endpoints = [
            each for each in _ended(self._old_endpoints, until) if not self._is_open(each, now)
        ]
        keys = [layout.NUMBER.pack(endpoint_id) for endpoint_id in endpoints]
        self._flags.forget(endpoints)
        self._endpoint_states.delete_many(keys)
        self._endpoints.difference_update(endpoints)

    def destroy_connections(self, endpoint_ids: Collection[int]) -> int:
        """End all connections of these endpoints, see `connect_destroy`; call it in a thread.

        Raises:
            OSError: it could not be done.
        """
        return destroy_connections(self._sockets, endpoint_ids)

    def renew_lease(self, seconds: float) -> None:
        """Let calls be balanced for so long from now; afterwards they are left alone."""
        self._word.trust_maps(seconds)

    def set_out(self, endpoint_id: int, out: bool) -> None:
        """Pass an endpoint over as long as there are others; quicker than a new table."""
        self._set_flag(endpoint_id, EndpointFlag.OUT, on=out)

    def set_watched(self, endpoint_id: int, watched: bool) -> None:
        """Tell of each of an endpoint's successes, not only of those that follow a failure."""
        self._set_flag(endpoint_id, EndpointFlag.WATCHED, on=watched)

    def port_counts(self, port_id: int) -> PortCounts:
        """What was counted for a port; zeros when it is not there."""
        value = self._port_states.lookup(layout.NUMBER.pack(port_id))
        return layout.port_counts(value or layout.new_port_state(0))

    def changed_ports(self) -> Iterator[tuple[int, PortCounts]]:
        """Ports that something was counted for since the last call, with all that was."""
        for port_id in self._take_touched(Touched.PORT):
            value = self._port_states.lookup(layout.NUMBER.pack(port_id))
            if value is not None:
                yield port_id, layout.port_counts(value)

    def endpoint_count(self, endpoint_id: int) -> EndpointCounts | None:
        """What was counted for one endpoint; None when it is not there."""
        value = self._endpoint_states.lookup(layout.NUMBER.pack(endpoint_id))
        return None if value is None else layout.endpoint_counts(value)

    def endpoint_counts(self) -> Iterator[tuple[int, EndpointCounts]]:
        """Endpoints that something was counted for since the last call, with all that was."""
        for endpoint_id in self._take_touched(Touched.ENDPOINT):
            counts = self.endpoint_count(endpoint_id)
            if counts is not None:
                yield endpoint_id, counts

    def fileno(self) -> int:
        """Readable, for epoll and trio, when there are events."""
        return self._events.fileno()

    def events(self) -> Iterator[ConnectEvent]:
        """Take the events that are there; when too many come at once, some are lost."""
        for record in self._events.records():
            yield layout.event(record)

    def clear(self) -> None:
        """Remove everything: calls are left alone; connections live on, uncounted."""
        self._word.trust_maps(0.0)
        for each in (
            self._addresses,
            self._tables,
            self._members,
            self._affinity,
            self._datagrams,
            self._answers,
            self._port_states,
            self._endpoint_states,
            self._touched,
        ):
            each.clear()
        for _ in self._events.records():
            pass
        self._flags.clear()
        self.callers.clear()
        self._forget()

    def _prepare(self, port: ConnectPort, change: _Change) -> None:
        old = self._standing.get(port.id)
        four = self._table(port, port.four, old.four if old else None, change)
        six = self._table(port, port.six, old.six if old else None, change)
        standing = Standing(port, four, six)
        change.standing.append(standing)
        if port.id not in self._ports:
            change.new_ports.add(port.id)
        change.new_endpoints |= standing.endpoint_ids() - self._endpoints

    def _table(
        self,
        port: ConnectPort,
        endpoints: tuple[ConnectEndpoint, ...],
        known: Table | None,
        change: _Change,
    ) -> Table:
        """The table that there is if it says the same, else a new one."""
        if known is not None and known.serves(port, endpoints):
            return known
        self._last_table += 1
        table = Table(self._last_table, endpoints, port.even, port.affinity_seconds > 0)
        change.tables.append(table)
        return table

    def _new_born(self) -> int:
        """A number that no state in the maps has."""
        self._born = self._born % _LAST_NUMBER + 1
        return self._born

    def _write(self, change: _Change) -> None:
        """Write all that entries refer to."""
        self._port_states.update_many(
            [
                (layout.NUMBER.pack(port_id), layout.new_port_state(self._new_born()))
                for port_id in change.new_ports
            ]
        )
        self._ports |= change.new_ports
        self._endpoint_states.update_many(
            [
                (layout.NUMBER.pack(endpoint_id), layout.new_endpoint_state(self._new_born()))
                for endpoint_id in change.new_endpoints
            ]
        )
        self._endpoints |= change.new_endpoints
        self._tables.update_many([row for table in change.tables for row in table.slots()])
        self._members.update_many([row for table in change.tables for row in table.members()])
        for standing in change.standing:
            for endpoint_id in standing.endpoint_ids() & self._old_endpoints.keys():
                self._set_flag(endpoint_id, EndpointFlag.RETIRED, on=False)

    def _take_back(self, change: _Change) -> None:
        """Let calls go by what stands; what was written for others goes when it is not used."""
        now = time.monotonic()
        keys = {key for standing in change.standing for key in standing.called()}
        self._addresses.delete_many([key for key in keys if key not in self._callees])
        owners = {self._callees[key] for key in keys if key in self._callees}
        for port_id in owners:
            self._addresses.update_many(list(self._standing[port_id].entries()))
        self._old_tables.extend((now, table) for table in change.tables)
        self._old_ports.update(dict.fromkeys(change.new_ports, now))
        self._retire(change.new_endpoints, now)

    def _settle(self, standing: Standing, now: float) -> None:
        """Note what stands, and let go of what stood there before."""
        port_id = standing.port.id
        old = self._standing.get(port_id)
        self._standing[port_id] = standing
        self._callees.update(dict.fromkeys(standing.called(), port_id))
        self._old_ports.pop(port_id, None)
        for endpoint_id in standing.endpoint_ids():
            self._old_endpoints.pop(endpoint_id, None)
        if old is None:
            return
        self._disown(port_id, old.called() - standing.called())
        kept = {table.number for table in standing.tables()}
        self._old_tables.extend((now, table) for table in old.tables() if table.number not in kept)
        self._retire(old.endpoint_ids() - standing.endpoint_ids(), now)

    def _disown(self, port_id: int, keys: AbstractSet[bytes]) -> None:
        """Leave calls of these addresses alone, where they are this port's."""
        own = [key for key in keys if self._callees.get(key) == port_id]
        self._addresses.delete_many(own)
        for key in own:
            del self._callees[key]

    def _is_open(self, endpoint_id: int, now: float) -> bool:
        """Whether a retired endpoint has connections: it is looked at again after a while."""
        counts = self.endpoint_count(endpoint_id)
        if counts is None or not counts.open:
            return False
        self._old_endpoints[endpoint_id] = now
        return True

    def _retire(self, endpoint_ids: AbstractSet[int], now: float) -> None:
        for endpoint_id in endpoint_ids:
            self._set_flag(endpoint_id, EndpointFlag.RETIRED, on=True)
            self._old_endpoints[endpoint_id] = now

    def _set_flag(self, endpoint_id: int, flag: EndpointFlag, *, on: bool) -> None:
        """Set it or not, of an endpoint that there is."""
        if endpoint_id in self._endpoints:
            self._flags.set(endpoint_id, flag, on=on)

    def _take_touched(self, kind: Touched) -> list[int]:
        """Ids of ports or endpoints that were counted for; the programs begin a new list."""
        self._word.begin_round()
        keys = dict.fromkeys(key for key, _ in self._touched.items())
        touches = [key for key in keys if layout.TOUCH.unpack(key)[0] == kind]
        self._touched.delete_many(touches)
        return [layout.TOUCH.unpack(key)[1] for key in touches]


def _ended(since: dict[int, float], until: float) -> list[int]:
    """Take out some that have been there since ``until`` or longer; they stand in order."""
    oldest = itertools.islice(since, _AT_ONCE)
    ended = list(itertools.takewhile(lambda each: since[each] <= until, oldest))
    for each in ended:
        del since[each]
    return ended
