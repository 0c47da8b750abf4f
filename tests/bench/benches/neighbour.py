"""neighbour: round trips of a client that behaves, beside clients that do not.

Each case is a kind of misbehaviour. Its metrics: ``latency_p99`` of a neighbour's round trips
meanwhile, ``latency_p99_alone`` of the same just before, ``latency_p99_ratio`` of the two, and
``errors`` meanwhile.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from bench import loads, manifests, misbehaviour
from bench.agent import Agent
from bench.benches import Bench, Options
from bench.benches.relay import selected
from bench.endpoints import StreamEndpoints
from bench.loads import Outcome, StreamLoad, percentile
from bench.measure import Meter
from bench.processes import check_alive, started
from bench.promises import Promise, draw_promises, promise_table
from bench.report import duration
from bench.results import Results
from bench.topology import Address, Service, Topology, service, topology
from edgemesh.model.errors import OperatorError

_CONNECTIONS = 8
_BEGIN_SECONDS = 30
_READY_SECONDS = 30
_LOOK_AGAIN_SECONDS = 0.02

_ECHO = service("echo", "10.96.0.10", 9000)
# An address of the server's network that nobody has.
_DEAD = Service("dead", Address("10.96.0.11", 9000), (Address("10.101.2.66", 9000),))

_PROMISES = (
    Promise("latency_p99_ratio", 2, "p99 of a neighbour, by its p99 alone", "{:.2f}".format),
    Promise("latency_p99", 0.1, "p99 of a neighbour", duration),
    Promise("errors", 1, "broken round trips", "{:.0f}".format),
)


async def run(options: Options) -> Results:
    """Measure what was asked for."""
    if set(options.subjects) - {"edgemesh"}:
        raise OperatorError("neighbour measures edgemesh alone", "leave --subjects out")
    cases = selected(misbehaviour.KINDS, options.cases, "case")
    program = await loads.compile_load(options.directory)
    echo = StreamEndpoints(program, "echo", _ECHO)
    results = Results("neighbour", options.rounds, ours=("edgemesh",))
    manifest = options.directory / "services.yaml"
    await trio.to_thread.run_sync(manifests.write, manifest, manifests.objects([_ECHO, _DEAD]))
    async with (
        topology("neighbour") as row,
        echo.serving(row.server, options.directory),
        _serving(row, manifest, echo, options.directory),
    ):
        for number in range(options.rounds):
            for case in cases:
                print(f"round {number + 1} of {options.rounds}: {case}", file=sys.stderr)
                neighbour = _Neighbour(row, program, options)
                results.add(case, "edgemesh", await _measure(neighbour, case, options.directory))
    return results


@dataclass(frozen=True, slots=True)
class _Neighbour:
    """The client that behaves."""

    row: Topology
    program: Path
    options: Options

    async def call(self) -> Outcome:
        load = StreamLoad(self.program, "rr", _CONNECTIONS)
        timing = self.options.timing
        return await load.run(self.row.client, [_ECHO.address], timing, Meter())


async def _measure(neighbour: _Neighbour, case: str, directory: Path) -> dict[str, float]:
    alone = percentile((await neighbour.call()).latency, 0.99)
    async with _misbehaving(neighbour.row.client, case, directory / "misbehaviour.log"):
        outcome = await neighbour.call()
    meanwhile = percentile(outcome.latency, 0.99)
    return {
        "latency_p99_alone": alone,
        "latency_p99": meanwhile,
        "latency_p99_ratio": meanwhile / alone,
        "errors": outcome.errors,
    }


@asynccontextmanager
async def _serving(
    row: Topology, manifest: Path, echo: StreamEndpoints, directory: Path
) -> AsyncIterator[None]:
    """An agent that answers for the Services."""
    agent = Agent(row.node, directory)
    async with agent.running() as process:
        await agent.until_reachable(process)
        await agent.apply(manifest)
        with trio.fail_after(_READY_SECONDS):
            while not await echo.answers(row.client, [_ECHO.address]):  # noqa: ASYNC110
                await trio.sleep(_LOOK_AGAIN_SECONDS)
        yield


@asynccontextmanager
async def _misbehaving(namespace: str, kind: str, log: Path) -> AsyncIterator[None]:
    """Somebody at work in a namespace.

    Raises:
        OperatorError: it ended, or did not begin in time.
    """
    host, port = _DEAD.address if kind == "dead" else _ECHO.address
    argv = [sys.executable, misbehaviour.__file__, kind, host, str(port)]
    async with started(namespace, argv, log, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with trio.move_on_after(_BEGIN_SECONDS):
            await process.stdout.receive_some()
        check_alive(process, f"misbehaviour {kind}", log)
        yield
        check_alive(process, f"misbehaviour {kind}", log)


BENCH = Bench(
    run,
    lambda results, path: draw_promises(results, _PROMISES, path),
    lambda results: promise_table(results, _PROMISES),
)
