"""The loads that speak HTTP: wrk for HTTP/1.1, h2load for HTTP/2 and what is built on it.

Each calls one address: behind a proxy that is the Service, without one the first endpoint.
Warm-up is a run of its own, since wrk has none; connections are opened within the measured run.
Source: wrk 4.1 src/wrk.c, h2load(1) of nghttp2 1.52.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from bench.loads import Outcome, Timing
from bench.measure import Meter
from bench.processes import finished
from bench.topology import Address
from edgemesh.model.errors import OperatorError

# Beyond the time asked for: to connect, and to wait for what is on its way.
_SPARE_SECONDS = 30
_PROBE_SECONDS = 2
# Of the run that measures the latencies of HTTP/2.
_LATENCY_SECONDS = 0.5
# wrk's units of time, in nanoseconds.
_UNITS = {"us": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}


@dataclass(frozen=True, slots=True)
class WrkLoad:
    """``GET /``, again and again, on HTTP/1.1 connections that are kept, by one thread of wrk.

    Args:
        connections: at a time.
    """

    connections: int
    counts_bytes: bool = False

    async def run(
        self, namespace: str, targets: Sequence[Address], timing: Timing, meter: Meter
    ) -> Outcome:
        """Run once; tell the meter when the measured time begins and ends.

        Raises:
            OperatorError: wrk failed, or took too long.
        """
        if timing.warmup:
            await self._call(namespace, targets[0], timing.warmup)
        meter.start()
        said = await self._call(namespace, targets[0], timing.seconds)
        meter.stop()
        return parse_wrk(said)

    async def _call(self, namespace: str, target: Address, seconds: float) -> str:
        # It takes whole seconds only.
        options = ["-t1", f"-c{self.connections}", f"-d{math.ceil(seconds)}s", "--latency"]
        return await _output(namespace, ["wrk", *options, _url(target)], seconds + 1)


def parse_wrk(said: str) -> Outcome:
    """Read what ``wrk --latency`` prints.

    Its latency is known at four percentiles; the counts are of a hundred requests.

    Raises:
        OperatorError: that is not what wrk prints.
    """
    total = int(_find(r"(\d+) requests in ", said)[0])
    rate = float(_find(r"Requests/sec: +([\d.]+)", said)[0])
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said
    )
    wrong = int(refused[1]) if refused else 0
    at = {
        int(percent): float(value) * _UNITS[unit]
        for percent, value, unit in re.findall(
            r"^ +(\d+)% +([\d.]+)(us|ms|s|m|h)$", said, re.MULTILINE
        )
    }
    counts = {50: 50, 75: 25, 90: 15, 99: 9}
    if total and at.keys() != counts.keys():
        raise OperatorError(f"wrk tells no latencies: {said!r}")
    return Outcome(
        seconds=total / rate if rate else 0.0,
        operations=total - wrong,
        bytes=0,
        errors=wrong + (sum(map(int, broken.groups())) if broken else 0),
        first=0,
        latency=tuple((round(at[percent]), counts[percent]) for percent in at) if total else (),
    )


@dataclass(frozen=True, slots=True)
class Request:
    """What h2load sends, and what it is to get.

    Args:
        reply_bytes: of the body of each reply.
        path: of the request.
        fields: header fields beyond the usual, ``name: value``.
        body: a file; the method is POST then, GET without.
        http1: whether it is HTTP/1.1 instead of HTTP/2 with prior knowledge.
    """

    reply_bytes: int
    path: str = "/"
    fields: tuple[str, ...] = ()
    body: Path | None = None
    http1: bool = False

    def arguments(self, target: Address) -> list[str]:
        """For h2load."""
        return [
            *(["--h1"] if self.http1 else []),
            *(word for field in self.fields for word in ("-H", field)),
            *(["-d", str(self.body)] if self.body else []),
            _url(target, self.path),
        ]


@dataclass(frozen=True, slots=True)
class H2Load:
    """Streams on HTTP/2 connections, by one thread of h2load.

    It prints no percentiles of its latencies, and writing each of them down costs it about a
    tenth of its speed. So they come from a short run of their own after the measured one.

    Args:
        connections: at a time.
        streams: open on each of them.
        request: that is sent.
        directory: for the list of latencies.
    """

    connections: int
    streams: int
    request: Request
    directory: Path
    counts_bytes: bool = False

    async def run(
        self, namespace: str, targets: Sequence[Address], timing: Timing, meter: Meter
    ) -> Outcome:
        """Run once; tell the meter when the measured time begins and ends.

        Raises:
            OperatorError: h2load failed, or took too long.
        """
        if timing.warmup:
            await self._call(namespace, targets[0], timing.warmup)
        meter.start()
        said = await self._call(namespace, targets[0], timing.seconds)
        meter.stop()
        log = trio.Path(self.directory / "h2load.log")
        await self._call(namespace, targets[0], _LATENCY_SECONDS, f"--log-file={log}")
        latency = parse_h2load_log((await log.read_text()).splitlines())
        await log.unlink()
        return replace(parse_h2load(said, self.request.reply_bytes), latency=latency)

    async def _call(self, namespace: str, target: Address, seconds: float, *options: str) -> str:
        shape = ["-t1", f"-c{self.connections}", f"-m{self.streams}"]
        duration = f"-D{round(seconds * 1000)}ms"
        argv = ["h2load", *shape, duration, *options, *self.request.arguments(target)]
        return await _output(namespace, argv, seconds)


async def is_answered(namespace: str, request: Request, targets: Sequence[Address]) -> bool:
    """Whether every target answers a request from a namespace as it is to be answered."""
    for target in targets:
        argv = ["h2load", "-n1", "-c1", f"-T{_PROBE_SECONDS}", *request.arguments(target)]
        outcome = parse_h2load(await _output(namespace, argv, _PROBE_SECONDS), request.reply_bytes)
        if outcome.operations != 1 or outcome.errors:
            return False
    return True


def parse_h2load(said: str, reply_bytes: int) -> Outcome:
    """Read what h2load prints, without latencies.

    Args:
        said: its standard output.
        reply_bytes: of the body of each reply. gRPC reports failures under status 200, so bytes
            that are missing count as replies that were wrong.

    Raises:
        OperatorError: that is not what h2load prints.
    """
    rate = float(_find(r"finished in [^,]+, ([\d.]+) req/s", said)[0])
    done, succeeded, failed, timeout = map(
        int,
        _find(r", (\d+) done, (\d+) succeeded, (\d+) failed, \d+ errored, (\d+) timeout", said),
    )
    data = int(_find(r"\((\d+)\) data$", said)[0])
    empty = max(0, math.ceil((succeeded * reply_bytes - data) / reply_bytes))
    return Outcome(
        seconds=done / rate if rate else 0.0,
        operations=succeeded - empty,
        bytes=data,
        errors=failed + timeout + empty,
        first=0,
        latency=(),
    )


def parse_h2load_log(lines: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """Latencies as (nanoseconds, count), rising.

    Args:
        lines: of h2load's log: when it began, status and microseconds, with tabs between.
    """
    counts = Counter(int(line.split("\t")[2]) for line in lines)
    return tuple((micros * 1000, counts[micros]) for micros in sorted(counts))


def _find(pattern: str, said: str) -> tuple[str, ...]:
    found = re.search(pattern, said, re.MULTILINE)
    if found is None:
        raise OperatorError(f"a load says {said!r} and nothing like {pattern}")
    return found.groups()


def _url(target: Address, path: str = "/") -> str:
    return f"http://{target.host}:{target.port}{path}"


async def _output(namespace: str, argv: Sequence[str], seconds: float) -> str:
    try:
        with trio.fail_after(seconds + _SPARE_SECONDS):
            return await finished(namespace, argv)
    except trio.TooSlowError:
        raise OperatorError(f"the load {' '.join(argv)} does not end") from None
