"""The subjects: what forwards, one file each, all under the same conditions.

Each is an asynchronous context manager that takes a ``Site`` and gives a ``Running``. Ready it is
when a client is answered; who starts it waits for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import trio

from bench.processes import check_alive
from bench.topology import Address, Service, Topology


@dataclass(frozen=True, slots=True)
class Site:
    """Where a subject works.

    Args:
        topology: its own row of namespaces.
        services: what it forwards.
        directory: its own, empty, for its configuration, state and log; with a short path.
    """

    topology: Topology
    services: tuple[Service, ...]
    directory: Path

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.directory / "log"


@dataclass(frozen=True, slots=True)
class Running:
    """A subject at work.

    Args:
        name: as in the results.
        targets: where clients aim, by the Service's name.
        process: the first of its processes, None when it has none.
        log: what it wrote.
        others: more processes that are its own, each with its log.
    """

    name: str
    targets: Mapping[str, tuple[Address, ...]]
    process: trio.Process | None
    log: Path
    others: tuple[tuple[trio.Process, Path], ...] = ()

    @property
    def pids(self) -> list[int]:
        """Of all its processes."""
        return [process.pid for process, _ in self._processes]

    def check(self) -> None:
        """Raise when it ended.

        Raises:
            OperatorError: with the last line that it wrote.
        """
        for process, log in self._processes:
            check_alive(process, self.name, log)

    @property
    def _processes(self) -> list[tuple[trio.Process, Path]]:
        first = [] if self.process is None else [(self.process, self.log)]
        return [*first, *self.others]


Subject = Callable[[Site], AbstractAsyncContextManager[Running]]


def at_service_addresses(name: str, site: Site, process: trio.Process | None) -> Running:
    """A subject that clients reach by calling the Services."""
    targets = {service.name: (service.address,) for service in site.services}
    return Running(name, targets, process, site.log)
