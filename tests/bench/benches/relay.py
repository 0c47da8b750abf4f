"""relay: TCP connections that are intercepted and copied, against three proxies and none.

Every subject takes the calls to the same Service addresses in the node's namespace, transparently,
and forwards them to the same two endpoints with one thread. The agent runs as users run it: with
its own rules and one log line for each connection; the peers write no log.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

from bench.benches import Bench, Options
from bench.endpoints import StreamEndpoints
from bench.loads import StreamLoad, compile_load
from bench.plot import draw_comparison
from bench.report import comparison_table
from bench.results import Results
from bench.rounds import Case, Comparison, compare
from bench.subjects import Subject
from bench.subjects.direct import direct
from bench.subjects.edgemesh import edgemesh
from bench.subjects.envoy import envoy
from bench.subjects.haproxy import haproxy
from bench.subjects.nginx import nginx
from bench.topology import service
from edgemesh.model.errors import OperatorError

ECHO = service("echo", "10.96.0.10", 9000)
SINK = service("sink", "10.96.0.11", 9001)
_SUBJECTS: Mapping[str, Subject] = {
    "edgemesh": edgemesh,
    "direct": direct,
    "haproxy": haproxy,
    "nginx": nginx,
    "envoy": envoy,
}
STREAM_CASES: Mapping[str, tuple[Literal["rr", "crr", "bulk"], int]] = {
    "rr-1": ("rr", 1),
    "rr-64": ("rr", 64),
    "crr-32": ("crr", 32),
    "bulk-1": ("bulk", 1),
    "bulk-8": ("bulk", 8),
}


async def run(options: Options) -> Results:
    """Measure what was asked for."""
    cases = selected(STREAM_CASES, options.cases, "case")
    subjects = selected(_SUBJECTS, options.subjects, "subject")
    program = await compile_load(options.directory)
    endpoints = [
        StreamEndpoints(program, "echo", ECHO),
        StreamEndpoints(program, "sink", SINK),
    ]
    comparison = Comparison([stream_case(program, name) for name in cases], subjects, endpoints)
    results = Results("relay", options.rounds, ours=("edgemesh",))
    await compare(comparison, results, options.timing, options.directory)
    return results


def stream_case(program: Path, name: str) -> Case:
    """One of the cases by its name, with the load that was compiled."""
    kind, connections = STREAM_CASES[name]
    load = StreamLoad(program, kind, connections)
    return Case(name, load, SINK.name if kind == "bulk" else ECHO.name)


_Value = TypeVar("_Value")


def selected(known: Mapping[str, _Value], names: tuple[str, ...], what: str) -> dict[str, _Value]:
    """The named ones of a table, in the order of the names; all of it when none are named.

    Raises:
        OperatorError: there is none of that name.
    """
    for name in names:
        if name not in known:
            raise OperatorError(f"there is no {what} {name!r}", f"there are {', '.join(known)}")
    return {name: known[name] for name in names or known}


BENCH = Bench(run, draw_comparison, comparison_table)
