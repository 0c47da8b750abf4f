"""The rounds of a comparison: every subject, every case, interleaved.

In a round all subjects are started, each in its own row of namespaces; then case by case each
gets its turn, so that what is compared was measured within seconds. Those that wait cost nothing:
they sleep. The order moves on by one each round, and all are started anew, since a process may be
lucky with its memory layout.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import trio

from bench import loads
from bench.loads import Load, Timing
from bench.measure import Meter
from bench.results import Results, metrics_of
from bench.subjects import Running, Site, Subject
from bench.topology import Service, Topology, topology
from edgemesh.model.errors import OperatorError

_READY_SECONDS = 30
_PROBE_PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Place:
    """A subject in its own row of namespaces."""

    topology: Topology
    running: Running


def _nothing(_: Place) -> AbstractAsyncContextManager[None]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Case:
    """One load on one Service.

    Args:
        name: as in the results, such as ``rr-64``.
        load: what the client does.
        service: the name of the Service that it calls.
        beside: what else goes on at that place meanwhile.
    """

    name: str
    load: Load
    service: str
    beside: Callable[[Place], AbstractAsyncContextManager[None]] = _nothing


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared.

    Args:
        cases: in the order in which they are measured.
        subjects: by name.
        services: by the mode of ``load/load.c`` that answers for them.
        unanswered: more Services, whose endpoints nobody provides but a case that wants to.
    """

    cases: Sequence[Case]
    subjects: Mapping[str, Subject]
    services: Mapping[str, Service]
    unanswered: tuple[Service, ...] = ()


async def compare(comparison: Comparison, results: Results, timing: Timing, program: Path) -> None:
    """Run all rounds and add what they measure to the results.

    Args:
        comparison: what is compared.
        results: says how many rounds, and takes the samples.
        timing: of each measurement.
        program: what ``compile_load`` made; everything temporary goes beside it.

    Raises:
        OperatorError: a subject does not start, ends by itself or forwards nothing.
    """
    names = list(comparison.subjects)
    await trio.lowlevel.checkpoint()
    for number in range(results.rounds):
        async with AsyncExitStack() as stack:
            places = {
                name: await stack.enter_async_context(
                    _place(comparison, name, program, program.parent / f"{number}-{name}")
                )
                for name in rotated(names, number)
            }
            for case in comparison.cases:
                print(f"round {number + 1} of {results.rounds}: {case.name}", file=sys.stderr)
                for name, place in places.items():
                    metrics = await _measure(case, place, timing)
                    results.add(case.name, name, metrics)


def rotated(names: Sequence[str], number: int) -> list[str]:
    """The names, beginning with another one each round."""
    start = number % len(names)
    return [*names[start:], *names[:start]]


@asynccontextmanager
async def _place(
    comparison: Comparison, name: str, program: Path, directory: Path
) -> AsyncIterator[Place]:
    """A subject in its own row of namespaces, serving."""
    await trio.Path(directory).mkdir()
    async with AsyncExitStack() as stack:
        row = await stack.enter_async_context(topology(name))
        serving = loads.endpoints(program, row.server, comparison.services)
        await stack.enter_async_context(serving)
        services = (*comparison.services.values(), *comparison.unanswered)
        site = Site(row, services, directory)
        running = await stack.enter_async_context(comparison.subjects[name](site))
        for mode, service in comparison.services.items():
            await _until_answered(program, mode, service, row, running)
        yield Place(row, running)


async def _until_answered(
    program: Path, mode: str, service: Service, row: Topology, running: Running
) -> None:
    targets = running.targets[service.name]
    with trio.move_on_after(_READY_SECONDS):
        while not await loads.answers(program, row.client, mode, targets):
            running.check()
            await trio.sleep(_PROBE_PAUSE_SECONDS)
        return
    raise OperatorError(f"{running.name} does not forward {service.name} in {_READY_SECONDS} s")


async def _measure(case: Case, place: Place, timing: Timing) -> dict[str, float]:
    meter = Meter(place.running.pid)
    targets = place.running.targets[case.service]
    try:
        async with case.beside(place):
            outcome = await case.load.run(place.topology.client, targets, timing, meter)
        place.running.check()
        assert meter.usage is not None
        return metrics_of(outcome, meter.usage, counts_bytes=case.load.counts_bytes)
    except OperatorError as error:
        raise OperatorError(f"{place.running.name}, {case.name}: {error}") from error
