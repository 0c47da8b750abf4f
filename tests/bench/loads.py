"""The loads: what runs in the client's namespace."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import trio

from bench.measure import Meter
from bench.processes import check_alive, started
from bench.topology import Address
from edgemesh.model.errors import OperatorError

_SOURCES = Path(__file__).with_name("load")
# Beyond warm-up and measurement: to connect, and to compare the totals of a bulk load.
_SPARE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a load runs before and while it is measured, in seconds."""

    warmup: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a load achieved in its measured time.

    Args:
        seconds: how long that was.
        operations: finished ones.
        bytes: moved, one way.
        errors: broken connections, wrong answers.
        first: when the first operation ended, in nanoseconds of CLOCK_MONOTONIC; 0 when none did.
        latency: (nanoseconds, count) of operations, rising; empty when there are no operations.
    """

    seconds: float
    operations: int
    bytes: int
    errors: int
    first: int
    latency: tuple[tuple[int, int], ...]


class Load(Protocol):
    """Anything that can be aimed at addresses from a namespace."""

    @property
    def counts_bytes(self) -> bool:
        """Whether bytes are what it is about, rather than operations."""
        ...

    async def run(
        self, namespace: str, targets: Sequence[Address], timing: Timing, meter: Meter
    ) -> Outcome:
        """Run once; tell the meter when the measured time begins and ends."""
        ...


@dataclass(frozen=True, slots=True)
class StreamLoad:
    """The load of ``load/load.c``.

    Args:
        program: what ``compile_load`` made.
        kind: round trips, connections with one round trip each, a stream one way, or transfers of
            4 MiB, each of which is confirmed.
        connections: at a time.
        rate: round trips a second in all, each timed from when it was due; 0 for as many as it
            gets.
    """

    program: Path
    kind: Literal["rr", "crr", "bulk", "transfer"]
    connections: int
    rate: int = 0

    @property
    def counts_bytes(self) -> bool:
        """Whether bytes are what it is about, rather than operations."""
        return self.kind in {"bulk", "transfer"}

    async def run(
        self, namespace: str, targets: Sequence[Address], timing: Timing, meter: Meter
    ) -> Outcome:
        """Run once; tell the meter when the measured time begins and ends.

        Raises:
            OperatorError: the program failed.
        """
        figures = [self.connections, self.rate, timing.warmup, timing.seconds]
        argv = [str(self.program), self.kind, *map(str, figures), *words(targets)]
        log = self.program.with_name("load.log")
        limit = timing.warmup + timing.seconds + _SPARE_SECONDS
        async with started(namespace, argv, log, stdout=subprocess.PIPE) as process:
            try:
                with trio.fail_after(limit):
                    said = await _follow(process, meter)
            except trio.TooSlowError:
                raise OperatorError(f"the load {' '.join(argv[1:])} does not end") from None
            if await process.wait() != 0:
                check_alive(process, f"the load {' '.join(argv[1:])}", log)
            return parse_outcome(said)


async def _follow(process: trio.Process, meter: Meter) -> str:
    """Tell the meter what the load announces; its last line is returned."""
    assert process.stdout is not None
    lines = LineReader(process.stdout)
    if await lines.next() == "measuring":
        meter.start()
    if await lines.next() == "measured":
        meter.stop()
    return await lines.next()


class LineReader:
    """What a program prints, line by line."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def next(self) -> str:
        """The next line without its end, "" when the stream is over."""
        await trio.lowlevel.checkpoint()
        while b"\n" not in self._buffer:
            data = await self._stream.receive_some()
            if not data:
                return ""
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()


def parse_outcome(line: str) -> Outcome:
    """Read the JSON line that the load ends with."""
    said = json.loads(line)
    return Outcome(
        seconds=said["seconds"],
        operations=said["operations"],
        bytes=said["bytes"],
        errors=said["errors"],
        first=said["first"],
        latency=tuple((value, count) for value, count in said["latency"]),
    )


def percentile(latency: Sequence[tuple[int, int]], fraction: float) -> float:
    """The latency that ``fraction`` of all operations did not exceed, in seconds.

    Args:
        latency: (nanoseconds, count), rising; at least one operation.
        fraction: above 0, up to 1.
    """
    wanted = fraction * sum(count for _, count in latency)
    seen = 0
    for value, count in latency:
        seen += count
        if seen >= wanted:
            return value / 1e9
    raise ValueError("no operations")


async def compile_load(directory: Path) -> Path:
    """Compile the sources in ``load`` into a directory; the program's path is returned.

    Raises:
        OperatorError: there is no C compiler, or it failed.
    """
    program = directory / "load"
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra"]
    sources = sorted(map(str, _SOURCES.glob("*.c")))
    try:
        done = await trio.run_process(
            ["cc", *flags, "-o", str(program), *sources], capture_stderr=True, check=False
        )
    except FileNotFoundError:
        raise OperatorError("there is no C compiler", "apt-get install gcc libc6-dev") from None
    if done.returncode != 0:
        raise OperatorError(f"cc {_SOURCES.name}: {done.stderr.decode(errors='replace')}")
    return program


def words(targets: Sequence[Address]) -> list[str]:
    """Addresses as the arguments of ``load/load.c``."""
    return [word for host, port in targets for word in (host, str(port))]
