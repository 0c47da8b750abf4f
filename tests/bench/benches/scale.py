"""scale: one agent with 10,000 Services of 5 endpoints each, beside what is promised.

The case ``services-N`` says how many Services. Its metrics:

``apply_seconds``: the command ``edgemesh apply`` on an empty store.
``apply_rss_bytes``: memory of the agent that took it.
``start_seconds``: from the start of an agent upon that store to the first answered call.
``change_seconds``: from the request to add an endpoint to the first call that it answers; median.
``decision_seconds``: the decision about the first connection to each Service, in process; median.
``rss_bytes``: memory of the started agent after all that.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

from bench import loads, manifests
from bench.agent import Agent
from bench.benches import Bench, Options
from bench.endpoints import StreamEndpoints
from bench.loads import StreamLoad, Timing
from bench.measure import Meter, rss_bytes
from bench.processes import check_alive
from bench.promises import Promise, draw_promises, promise_table
from bench.report import duration, memory
from bench.results import Results
from bench.topology import Address, Service, Topology, service, topology
from edgemesh.meta.client import Client, connect
from edgemesh.meta.snapshot import SnapshotBuilder
from edgemesh.model.errors import OperatorError
from edgemesh.model.flows import FlowFacts
from edgemesh.model.objects import Change, ChangeType, KubeObject, ObjectKey
from edgemesh.model.services import Source, Transport
from edgemesh.model.settings import MetaSettings
from edgemesh.policy.traffic.traffic import Traffic
from edgemesh.policy.verdict import decide
from edgemesh.wire.message import Operation

_DEFAULT_CASES = ("services-10000",)
_ENDPOINTS = 5
_CHANGES = 9
_CHANGE_SECONDS = 1.0
_SERVE_SECONDS = 120
_PROBE = Timing(warmup=0, seconds=0.05)

_PROMISES = (
    Promise("apply_seconds", 60, "edgemesh apply", duration),
    Promise("start_seconds", 10, "agent started and serving", duration),
    Promise("apply_rss_bytes", 250 * 2**20, "memory of the agent after the apply", memory),
    Promise("rss_bytes", 250 * 2**20, "memory of the agent after its start", memory),
    Promise("decision_seconds", 50e-6, "first connection to a Service decided", duration),
    Promise("change_seconds", 0.1, "an added endpoint answers", duration),
)

# Beside the many Services there is one that answers from the start, and some that get their
# endpoints one after the other.
_ECHO = service("echo", "10.96.0.10", 9000)
_LATE = tuple(
    service(f"late-{number}", f"10.96.1.{number + 1}", 9000) for number in range(_CHANGES)
)


async def run(options: Options) -> Results:
    """Measure what was asked for."""
    if set(options.subjects) - {"edgemesh"}:
        raise OperatorError("scale measures edgemesh alone", "leave --subjects out")
    sizes = {case: _size(case) for case in options.cases or _DEFAULT_CASES}
    program = await loads.compile_load(options.directory)
    results = Results("scale", options.rounds, ours=("edgemesh",))
    for number in range(options.rounds):
        for case, size in sizes.items():
            print(f"round {number + 1} of {options.rounds}: {case}", file=sys.stderr)
            directory = options.directory / f"{number}-{size}"
            await trio.Path(directory).mkdir()
            results.add(case, "edgemesh", await _measure(size, program, directory))
    return results


def _size(case: str) -> int:
    prefix, _, number = case.partition("-")
    if prefix != "services" or not number.isdecimal() or int(number) < 1:
        raise OperatorError(f"there is no case {case!r}", "there is services-N, N at least 1")
    return int(number)


async def _measure(size: int, program: Path, directory: Path) -> dict[str, float]:
    late = [replace(one, endpoints=()) for one in _LATE]
    objects = manifests.objects([*map(_synthetic, range(size)), _ECHO, *late])
    manifest = directory / "services.yaml"
    await trio.to_thread.run_sync(manifests.write, manifest, objects)
    metrics: dict[str, float] = {}
    async with (
        topology("scale") as row,
        StreamEndpoints(program, "echo", _ECHO).serving(row.server, directory),
    ):
        agent = Agent(row.node, directory)
        async with agent.running() as process:
            await agent.until_reachable(process)
            began = time.monotonic()
            await agent.apply(manifest)
            metrics["apply_seconds"] = time.monotonic() - began
            metrics["apply_rss_bytes"] = rss_bytes(process.pid)
        began = time.monotonic()
        async with agent.running() as process:
            served = await _until_served(agent, process, program, row)
            metrics["start_seconds"] = served - began
            async with connect(agent.socket, MetaSettings()) as client:
                changes = [await _change(client, one, program, row) for one in _LATE]
            metrics["change_seconds"] = statistics.median(changes)
            metrics["rss_bytes"] = rss_bytes(process.pid)
    metrics["decision_seconds"] = await trio.to_thread.run_sync(_decision_seconds, objects)
    return metrics


def _synthetic(number: int) -> Service:
    """A Service whose endpoints nobody will ever call."""
    tail = f"{number // 250}.{number % 250 + 1}"
    endpoints = tuple(Address(f"10.{200 + index}.{tail}", 8080) for index in range(_ENDPOINTS))
    return Service(f"service-{number:05}", Address(f"10.97.{tail}", 80), endpoints)


async def _until_served(agent: Agent, process: trio.Process, program: Path, row: Topology) -> float:
    """When the first call was answered, by the monotonic clock."""
    probe = StreamLoad(program, "rr", 1)
    with trio.move_on_after(_SERVE_SECONDS):
        while True:
            check_alive(process, "the agent", agent.log)
            outcome = await probe.run(row.client, [_ECHO.address], _PROBE, Meter())
            if outcome.first:
                return outcome.first / 1e9
    raise OperatorError(f"the agent does not serve within {_SERVE_SECONDS} s")


class _Begun(Meter):
    """Tells when the load is calling."""

    def __init__(self) -> None:
        super().__init__()
        self.event = trio.Event()

    def start(self) -> None:
        self.event.set()


async def _change(client: Client, late: Service, program: Path, row: Topology) -> float:
    """Give a Service its endpoints while a client keeps calling; seconds until one answers."""
    meter = _Begun()
    first = 0

    async def call() -> None:
        nonlocal first
        load, timing = StreamLoad(program, "rr", 1), Timing(0, _CHANGE_SECONDS)
        first = (await load.run(row.client, [late.address], timing, meter)).first

    body = manifests.endpoint_slice(late)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await meter.event.wait()
        began = time.monotonic()
        resource = f"default/endpointslice/{body['metadata']['name']}"
        await client.request(Operation.UPDATE, resource, body)
    if not first:
        raise OperatorError(f"{late.name}: no answer {_CHANGE_SECONDS} s after the change")
    return first / 1e9 - began


def _decision_seconds(objects: Sequence[dict[str, Any]]) -> float:
    """The median time of the first decision about each Service that has endpoints."""
    builder = SnapshotBuilder("bench", Source.NODE)
    builder.apply([Change(ChangeType.INSERT, _stored(body)) for body in objects])
    snapshot = builder.build(1)
    traffic, now = Traffic(random.Random(0).random), time.monotonic()
    traffic.swap(snapshot, now)
    times = []
    for destination, port in snapshot.tcp.items():
        facts = FlowFacts(Transport.TCP, ("10.101.1.2", 40000), destination)
        began = time.perf_counter_ns()
        verdict = decide(snapshot, facts, traffic, now, listener_port=15001)
        times.append(time.perf_counter_ns() - began)
        assert bool(verdict.candidates) == bool(port.endpoints)
    return statistics.median(times) / 1e9


def _stored(body: dict[str, Any]) -> KubeObject:
    metadata = body["metadata"]
    key = ObjectKey(body["kind"], metadata["namespace"], metadata["name"])
    return KubeObject(key, f"uid-{key}", 1, metadata.get("labels", {}), body)


BENCH = Bench(
    run,
    lambda results, path: draw_promises(results, _PROMISES, path),
    lambda results: promise_table(results, _PROMISES),
)
