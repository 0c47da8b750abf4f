"""The maps of the connect path: Service ports go in, counts and events come out.

A service's endpoints are a table of slots under a number of its own. A change writes a whole new
table, then replaces the one row that names it, and removes the old table a while later: no
connection ever sees half a service, whenever it looks.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple, Protocol, Self

from edgemesh.kernel.bpf import connect_layout as layout
from edgemesh.kernel.bpf.connect_layout import (
    ConnectEvent,
    EndpointCounts,
    EndpointFlag,
    PortCounts,
    Touched,
)
from edgemesh.kernel.bpf.connect_tables import Row, Standing, Table
from edgemesh.kernel.bpf.maps import Map
from edgemesh.kernel.bpf.ringbuf import RingBuffer
from edgemesh.model.connect import ConnectEndpoint, ConnectPort

# A program that runs still uses what it found; counts are read once more before they go.
_GRACE_SECONDS: Final = 2.0
_LEASE_KEY: Final = bytes(4)


class OpensMaps(Protocol):
    """Where pinned maps are opened by their names in C: ``loader.Loaded``."""

    def map(self, name: str) -> Map:
        """Open one, which the caller closes.

        Raises:
            OSError: there is none.
        """
        ...


class _Leftover(NamedTuple):
    """What is removed when no program can be using it any more, monotonic seconds."""

    since: float
    tables: tuple[Table, ...]


class ConnectMaps:
    """See the module. Calls take microseconds for one port and block for no longer than that.

    One thread at a time puts, removes, sets and expires. `renew_lease`, counts and events may
    be asked for by another meanwhile.

    Ownership: it opens the maps and closes them; a context manager.

    Args:
        loaded: where the programs are pinned.

    Raises:
        OSError: a map is not there.
    """

    def __init__(self, loaded: OpensMaps) -> None:
        with ExitStack() as stack:
            self._lease = stack.enter_context(loaded.map("lease"))
            self._addresses = stack.enter_context(loaded.map("addresses"))
            self._ports = stack.enter_context(loaded.map("ports"))
            self._port_states = stack.enter_context(loaded.map("port_states"))
            self._tables = stack.enter_context(loaded.map("tables"))
            self._members = stack.enter_context(loaded.map("members"))
            self._affinity = stack.enter_context(loaded.map("affinity"))
            self._endpoints = stack.enter_context(loaded.map("endpoints"))
            self._endpoint_flags = stack.enter_context(loaded.map("endpoint_flags"))
            self._datagrams = stack.enter_context(loaded.map("datagrams"))
            self._answers = stack.enter_context(loaded.map("answers"))
            self._touched = stack.enter_context(loaded.map("touched"))
            self._events = stack.enter_context(RingBuffer(loaded.map("connect_events")))
            self._stack = stack.pop_all()
        self._forget()

    def _forget(self) -> None:
        self._standing: dict[int, Standing] = {}
        self._callers: dict[bytes, int] = {}
        self._flags: dict[int, EndpointFlag] = {}
        self._leftovers: deque[_Leftover] = deque()
        # Ids that have a state in the maps; those that retired, since when.
        self._known_ports: set[int] = set()
        self._known_endpoints: set[int] = set()
        self._retired_ports: dict[int, float] = {}
        self._retired_endpoints: dict[int, float] = {}
        self._last_table = 0
        self._born = 0

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
        raise NotImplementedError

    def remove(self, port_id: int) -> None:
        """Leave the calls of a Service port alone; connections that it has live on."""
        self.remove_many((port_id,))

    def remove_many(self, port_ids: Sequence[int]) -> None:
        """The same for many; those that are not there do not matter."""
        raise NotImplementedError

    def expire(self, now: float) -> None:
        """Remove what was replaced or removed a while ago; to be called every second or so.

        Args:
            now: monotonic seconds.
        """
        raise NotImplementedError

    def renew_lease(self, seconds: float) -> None:
        """Let calls be balanced for so long from now; afterwards they are left alone."""
        until = time.monotonic_ns() + round(seconds * layout.NANOSECONDS)
        self._lease.update(_LEASE_KEY, layout.LEASE.pack(until))

    def set_out(self, endpoint_id: int, out: bool) -> None:
        """Pass an endpoint over as long as there are others; quicker than a new table."""
        self._set_flag(endpoint_id, EndpointFlag.OUT, out)

    def set_watched(self, endpoint_id: int, watched: bool) -> None:
        """Tell of each of an endpoint's successes, not only of those that follow a failure."""
        self._set_flag(endpoint_id, EndpointFlag.WATCHED, watched)

    def port_counts(self, port_id: int) -> PortCounts:
        """What was counted for a port; zeros when it is not there."""
        raise NotImplementedError

    def changed_ports(self) -> Iterator[tuple[int, PortCounts]]:
        """Ports that something was counted for since the last call, with all that was."""
        raise NotImplementedError

    def endpoint_counts(self) -> Iterator[tuple[int, EndpointCounts]]:
        """Endpoints that something was counted for since the last call, with all that was."""
        raise NotImplementedError

    def fileno(self) -> int:
        """Readable, for epoll and trio, when there are events."""
        return self._events.fileno()

    def events(self) -> Iterator[ConnectEvent]:
        """Take the events that are there; when too many come at once, some are lost."""
        for record in self._events.records():
            yield layout.event(record)

    def clear(self) -> None:
        """Remove everything: calls are left alone; connections live on, uncounted."""
        raise NotImplementedError

    def _set_flag(self, endpoint_id: int, flag: EndpointFlag, on: bool) -> None:
        raise NotImplementedError
