"""The rounds of a comparison: every subject, every case, interleaved.

In a round all subjects are started, each in its own row of namespaces; then case by case each
gets its turn, so that what is compared was measured within seconds. Those that wait cost nothing:
they sleep. The order moves on by one each round, and all are started anew, since a process may be
lucky with its memory layout.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import trio

from bench.endpoints import Endpoints
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
        endpoints: what answers, for each Service.
        unanswered: more Services, whose endpoints nobody provides but a case that wants to.
        left_out: the names of the Services that a subject cannot forward, by its name; it has
            no part in their cases.
        row: makes the namespaces of a subject, which may be more than three.
    """

    cases: Sequence[Case]
    subjects: Mapping[str, Subject]
    endpoints: Sequence[Endpoints]
    unanswered: tuple[Service, ...] = ()
    left_out: Mapping[str, Collection[str]] = field(default_factory=dict)
    row: Callable[[str], AbstractAsyncContextManager[Topology]] = topology

    def has_part(self, subject: str, service: str) -> bool:
        """Whether a subject forwards a Service."""
        return service not in self.left_out.get(subject, ())

    def endpoints_for(self, subject: str) -> Sequence[Endpoints]:
        """What answers behind a subject."""
        return [one for one in self.endpoints if self.has_part(subject, one.service.name)]


async def compare(
    comparison: Comparison, results: Results, timing: Timing, directory: Path
) -> None:
    """Run all rounds and add what they measure to the results.

    Args:
        comparison: what is compared.
        results: says how many rounds, and takes the samples.
        timing: of each measurement.
        directory: for everything temporary.

    Raises:
        OperatorError: a subject does not start, ends by itself or forwards nothing.
    """
    names = list(comparison.subjects)
    await trio.lowlevel.checkpoint()
    for number in range(results.rounds):
        async with AsyncExitStack() as stack:
            places = {
                name: await stack.enter_async_context(
                    _place(comparison, name, directory / f"{number}-{name}")
                )
                for name in rotated(names, number)
            }
            for case in comparison.cases:
                print(f"round {number + 1} of {results.rounds}: {case.name}", file=sys.stderr)
                for name, place in places.items():
                    if not comparison.has_part(name, case.service):
                        continue
                    metrics = await _measure(case, place, timing)
                    results.add(case.name, name, metrics)


def rotated(names: Sequence[str], number: int) -> list[str]:
    """The names, beginning with another one each round."""
    start = number % len(names)
    return [*names[start:], *names[:start]]


@asynccontextmanager
async def _place(comparison: Comparison, name: str, directory: Path) -> AsyncIterator[Place]:
    """A subject in its own row of namespaces, serving."""
    await trio.Path(directory).mkdir()
    answering = comparison.endpoints_for(name)
    async with AsyncExitStack() as stack:
        row = await stack.enter_async_context(comparison.row(name))
        for endpoints in answering:
            await stack.enter_async_context(endpoints.serving(row.server, directory))
        services = (*(one.service for one in answering), *comparison.unanswered)
        site = Site(row, services, directory)
        running = await stack.enter_async_context(comparison.subjects[name](site))
        for endpoints in answering:
            await _until_answered(endpoints, row, running)
        yield Place(row, running)


async def _until_answered(endpoints: Endpoints, row: Topology, running: Running) -> None:
    targets = running.targets[endpoints.service.name]
    with trio.move_on_after(_READY_SECONDS):
        while not await endpoints.answers(row.client, targets):
            running.check()
            await trio.sleep(_PROBE_PAUSE_SECONDS)
        return
    raise OperatorError(
        f"{running.name} does not forward {endpoints.service.name} in {_READY_SECONDS} s"
    )


async def _measure(case: Case, place: Place, timing: Timing) -> dict[str, float]:
    meter = Meter(*place.running.pids)
    targets = place.running.targets[case.service]
    try:
        async with case.beside(place):
            outcome = await case.load.run(place.topology.client, targets, timing, meter)
        place.running.check()
        assert meter.usage is not None
        return metrics_of(outcome, meter.usage, counts_bytes=case.load.counts_bytes)
    except OperatorError as error:
        raise OperatorError(f"{place.running.name}, {case.name}: {error}") from error
