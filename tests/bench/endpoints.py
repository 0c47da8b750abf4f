"""What answers for the Services: programs in the server's namespace."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from bench.loads import LineReader, StreamLoad, Timing, words
from bench.measure import Meter
from bench.processes import check_alive, started
from bench.topology import Address, Service

_PROBE_SECONDS = 0.05
# For a whole one to get through.
_TRANSFER_SECONDS = 0.3
_PROBES: Mapping[str, Literal["rr", "bulk", "transfer"]] = {
    "echo": "rr",
    "sink": "bulk",
    "receipt": "transfer",
}


class Endpoints(Protocol):
    """All endpoints of one Service."""

    @property
    def service(self) -> Service:
        """Whose they are."""
        ...

    def serving(self, namespace: str, directory: Path) -> AbstractAsyncContextManager[None]:
        """Serve in a namespace until the block is left; all answer when it is entered.

        Args:
            namespace: the server's.
            directory: for configurations and logs.
        """
        ...

    async def answers(self, namespace: str, targets: Sequence[Address]) -> bool:
        """Whether every target serves a client in a namespace just now."""
        ...


@dataclass(frozen=True, slots=True)
class StreamEndpoints:
    """A mode of ``load/load.c``; one process serves all endpoints.

    Args:
        program: what ``compile_load`` made.
        mode: of the program: an ``echo`` is asked for round trips, a ``sink`` has to confirm a
            total, a ``receipt`` every transfer, a ``deaf`` one reads nothing.
        service: whose endpoints they are.
    """

    program: Path
    mode: Literal["echo", "sink", "receipt", "deaf"]
    service: Service

    @asynccontextmanager
    async def serving(self, namespace: str, directory: Path) -> AsyncIterator[None]:
        """Serve until the block is left; all listen when it is entered."""
        log = directory / f"{self.mode}.log"
        argv = [str(self.program), self.mode, *words(self.service.endpoints)]
        async with started(namespace, argv, log, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            if await LineReader(process.stdout).next() != "listening":
                await process.wait()
                check_alive(process, f"the {self.mode} endpoint", log)
            yield

    async def answers(self, namespace: str, targets: Sequence[Address]) -> bool:
        """Whether every target serves a client just now."""
        probe = StreamLoad(self.program, _PROBES[self.mode], len(targets))
        seconds = _TRANSFER_SECONDS if self.mode == "receipt" else _PROBE_SECONDS
        timing = Timing(warmup=0, seconds=seconds)
        outcome = await probe.run(namespace, targets, timing, Meter())
        return outcome.bytes > 0 and outcome.errors == 0
