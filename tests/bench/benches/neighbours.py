"""neighbours: round trips of a client that behaves, beside clients and endpoints that do not.

The neighbour makes 1,000 round trips a second on connections of its own, each timed from when it
was due. The case ``quiet`` is when it is alone; each other case is named after what goes on
beside it. What is promised is the ratio of the two within a round.

The subject ``direct`` tells what the machine itself does to the neighbour: the same clients keep
the same processors busy. Under edgemesh the first bytes of every connection are waited for and
looked at (``peek``), so that clients that are slow to say anything are met where they hurt most.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import trio

from bench import misbehaviour
from bench.benches import Bench, Options
from bench.benches.relay import selected
from bench.endpoints import StreamEndpoints
from bench.loads import StreamLoad, compile_load
from bench.processes import check_alive, finished, started
from bench.promises import Promise, draw_promises, promise_table
from bench.report import comparison_table
from bench.results import Results
from bench.rounds import Case, Comparison, Place, compare
from bench.subjects import Subject
from bench.subjects.direct import direct
from bench.subjects.edgemesh import edgemesh
from bench.subjects.haproxy import haproxy
from bench.topology import ENDPOINT_ADDRESSES, Address, Service, Topology, service
from edgemesh.model.errors import OperatorError

_CONNECTIONS = 8
_RATE = 1000
_BEGIN_SECONDS = 30
# It is the calls that are to be felt, not the processor time of who makes them.
_NICE = ("nice", "-n", "19")
# The neighbour's connections stand in line with a crowd; they are to be there when it is measured.
_WARMUP_SECONDS = 1.0
# Every proxy gives a silent endpoint up after 2 s: from then on each second brings a crowd of
# calls that begin and a crowd of calls that end.
_CROWDED_SECONDS = 3
# Until all buffers on the way are full and nothing moves any more: before that it is bulk traffic.
_FILL_SECONDS = 3

_ECHO = service("echo", "10.96.0.10", 9000)
_SINK = service("sink", "10.96.0.11", 9001)
_DEAF = service("deaf", "10.96.0.12", 9002)


def _dead(name: str, host: str, port: int) -> Service:
    # With one endpoint only: how many are tried is not what this is about.
    return Service(name, Address(host, port), (Address(ENDPOINT_ADDRESSES[0], port),))


_REFUSING = _dead("refusing", "10.96.0.13", 9003)
_SILENT = _dead("silent", "10.96.0.14", 9004)

_SUBJECTS: Mapping[str, Subject] = {
    "edgemesh": partial(edgemesh, more_settings='[proxy]\npeek = "always"\n'),
    "direct": direct,
    "haproxy": haproxy,
}

_SILENCE = """
table ip bench {{
  chain silence {{
    type filter hook input priority filter; policy accept;
    tcp dport {port} drop
  }}
}}
"""

_Endpoint = Callable[[Topology, Path], AbstractAsyncContextManager[None]]


def _as_it_is(_row: Topology, _program: Path) -> AbstractAsyncContextManager[None]:
    return nullcontext()


def _deaf_endpoint(row: Topology, program: Path) -> AbstractAsyncContextManager[None]:
    return StreamEndpoints(program, "deaf", _DEAF).serving(row.server, program.parent)


@asynccontextmanager
async def _silent_endpoint(row: Topology, _program: Path) -> AsyncIterator[None]:
    silence = _SILENCE.format(port=_SILENT.endpoints[0].port)
    await finished(row.server, ["nft", "-f", "-"], silence)
    try:
        yield
    finally:
        # It goes with its namespace in any case.
        with trio.CancelScope(shield=True), trio.move_on_after(5):
            await finished(row.server, ["nft", "delete", "table", "ip", "bench"])


@dataclass(frozen=True, slots=True)
class _Disturbance:
    """What goes on beside the neighbour.

    Args:
        kind: of misbehaviour.
        service: at which it is aimed.
        endpoint: brings the Service's endpoints into the state that it is about.
        run_in_seconds: until it is as bad as it gets.
    """

    kind: str
    service: Service
    endpoint: _Endpoint = _as_it_is
    run_in_seconds: float = 0


_QUIET = "quiet"
DISTURBANCES = {
    "first-line": _Disturbance("first-line", _SINK),
    "slow-loris": _Disturbance("loris", _ECHO),
    "byte-a-second": _Disturbance("byte-a-second", _ECHO),
    "stalled-reader": _Disturbance("never-reads", _DEAF, _deaf_endpoint, _FILL_SECONDS),
    "dead-refusing": _Disturbance("dead", _REFUSING),
    "dead-silent": _Disturbance("dead", _SILENT, _silent_endpoint, _CROWDED_SECONDS),
}

_PROMISES = (
    Promise(
        "latency_p99", 2, "p99 of the neighbour, as a multiple of quiet", "{:.2f}".format, True
    ),
)


async def run(options: Options) -> Results:
    """Measure what was asked for, and the quiet that it is compared with."""
    disturbances = selected(DISTURBANCES, options.cases, "case")
    subjects = selected(_SUBJECTS, options.subjects, "subject")
    program = await compile_load(options.directory)
    load = StreamLoad(program, "rr", _CONNECTIONS, _RATE)
    cases = [Case(_QUIET, load, _ECHO.name)] + [
        Case(name, load, _ECHO.name, partial(_disturbed, disturbance, program))
        for name, disturbance in disturbances.items()
    ]
    answered = [StreamEndpoints(program, "echo", _ECHO), StreamEndpoints(program, "sink", _SINK)]
    comparison = Comparison(cases, subjects, answered, (_DEAF, _REFUSING, _SILENT))
    results = Results("neighbours", options.rounds, ours=("edgemesh",), base=_QUIET)
    timing = replace(options.timing, warmup=max(options.timing.warmup, _WARMUP_SECONDS))
    await compare(comparison, results, timing, options.directory)
    return results


@asynccontextmanager
async def _disturbed(disturbance: _Disturbance, program: Path, place: Place) -> AsyncIterator[None]:
    """Clients at their worst, until the block is left.

    Raises:
        OperatorError: they ended, or did not begin in time.
    """
    row, name = place.topology, f"the misbehaviour {disturbance.kind!r}"
    target = place.running.targets[disturbance.service.name][0]
    argv = [*_NICE, sys.executable, misbehaviour.__file__, disturbance.kind, *map(str, target)]
    log = program.with_name("misbehaviour.log")
    async with (
        disturbance.endpoint(row, program),
        started(row.client, argv, log, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        with trio.move_on_after(_BEGIN_SECONDS) as patience:
            await process.stdout.receive_some()
        check_alive(process, name, log)
        if patience.cancelled_caught:
            raise OperatorError(f"{name} does not begin within {_BEGIN_SECONDS} s")
        await trio.sleep(disturbance.run_in_seconds)
        yield
        check_alive(process, name, log)


def _tell(results: Results) -> str:
    return f"{promise_table(results, _PROMISES)}\n\n{comparison_table(results)}"


BENCH = Bench(run, lambda results, path: draw_promises(results, _PROMISES, path), _tell)
