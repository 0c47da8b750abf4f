"""bus: calls from a pod on one node to a pod on another, against plain TCP and a plain tunnel.

``edgemesh`` carries them by a link from node to node, in the cases ``hub-rr`` and ``hub-bulk`` by
the cloud, since its nodes do not reach each other there. ``direct`` is the same network with nobody
in between, ``tls`` a TLS 1.3 connection from node to node for each of the client's. Round trips are
of 64 bytes, an operation of a bulk case is a confirmed transfer of 4 MiB, and the Services are
proxied as TCP in ``link-wrk-64`` as well.

``link-stalled`` is ``link-quiet`` beside one stream that its endpoint reads nothing of: a thousand
round trips a second on other connections, each timed from when it was due.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from bench.bars import Bar, bar_lines, error_lines
from bench.benches import Bench, Options
from bench.benches.relay import selected
from bench.endpoints import Endpoints, StreamEndpoints
from bench.http_endpoints import web_endpoints
from bench.http_loads import WrkLoad
from bench.loads import Load, StreamLoad, compile_load
from bench.plot import draw_comparison
from bench.processes import check_alive, started
from bench.report import comparison_table
from bench.results import Results
from bench.rounds import Case, Comparison, Place, compare
from bench.span import span
from bench.subjects import Subject
from bench.subjects.direct import direct
from bench.subjects.linked import linked
from bench.subjects.tls import tls
from bench.topology import ENDPOINT_ADDRESSES, Address, Service
from edgemesh.model.peers import Way

_STREAMS = 1000
# A thousand streams are to be open when it is measured.
_WARMUP_SECONDS = 1.0
_NEIGHBOURS = 8
_RATE = 1000
# Until all buffers on the way are full and nothing moves any more.
_FILL_SECONDS = 1.0
_FOR_EVER_SECONDS = 86400


def _service(name: str, host: str, port: int) -> Service:
    # With one endpoint only: wrk and the tunnel know no more than one.
    return Service(name, Address(host, port), (Address(ENDPOINT_ADDRESSES[0], port),))


_ECHO = _service("echo", "10.96.0.10", 9000)
_RECEIPT = _service("receipt", "10.96.0.11", 9001)
_WEB = _service("web", "10.96.0.12", 8080)
_CROWD = _service("crowd", "10.96.0.13", 9003)
_DEAF = _service("deaf", "10.96.0.14", 9004)

_SUBJECTS = ("edgemesh", "direct", "tls")
# The tunnel has a thread for each connection: it is about one.
_LEFT_OUT = {"tls": (_WEB.name, _CROWD.name)}
_WAYS: Mapping[Way, tuple[str, ...]] = {
    Way.LINK: (
        "link-rr",
        "link-bulk",
        "link-wrk-64",
        "link-streams-1000",
        "link-quiet",
        "link-stalled",
    ),
    Way.HUB: ("hub-rr", "hub-bulk"),
}

BARS = (
    Bar("link-bulk", "bytes_per_second", "tls", 0.5),
    Bar("link-rr", "latency_p50", "tls", at_most=3),
    Bar("link-wrk-64", "requests_per_second", "direct", 0.35),
    Bar("link-stalled", "latency_p99", "edgemesh", at_most=1.5, to_case="link-quiet"),
)


async def run(options: Options) -> Results:
    """Measure what was asked for."""
    known = dict.fromkeys(name for cases in _WAYS.values() for name in cases)
    names = list(selected(known, options.cases, "case"))
    subjects = list(selected(dict.fromkeys(_SUBJECTS), options.subjects, "subject"))
    program = await compile_load(options.directory)
    results = Results("bus", options.rounds, ours=("edgemesh",))
    timing = replace(options.timing, warmup=max(options.timing.warmup, _WARMUP_SECONDS))
    for way, cases in _WAYS.items():
        wanted = [_case(program, name) for name in names if name in cases]
        if not wanted:
            continue
        directory = options.directory / way
        await trio.Path(directory).mkdir()
        comparison = _comparison(program, wanted, subjects, way)
        await compare(comparison, results, timing, directory)
    return results


def _comparison(program: Path, cases: list[Case], subjects: list[str], way: Way) -> Comparison:
    """What is compared where edgemesh takes one of its ways."""
    known: Mapping[str, Subject] = {
        "edgemesh": partial(linked, way=way),
        "direct": direct,
        "tls": tls,
    }
    endpoints: list[Endpoints] = [
        StreamEndpoints(program, "echo", _ECHO),
        StreamEndpoints(program, "receipt", _RECEIPT),
        web_endpoints(_WEB),
        StreamEndpoints(program, "echo", _CROWD),
    ]
    called = {case.service for case in cases}
    return Comparison(
        cases,
        {name: known[name] for name in subjects},
        [each for each in endpoints if each.service.name in called],
        (_DEAF,),
        _LEFT_OUT,
        row=lambda name: span(name, parted=way is Way.HUB and name == "edgemesh"),
    )


def _case(program: Path, name: str) -> Case:
    if name == "link-wrk-64":
        return Case(name, WrkLoad(64), _WEB.name)
    if name == "link-streams-1000":
        return Case(name, StreamLoad(program, "rr", _STREAMS), _CROWD.name)
    if name in {"link-rr", "hub-rr"}:
        return Case(name, StreamLoad(program, "rr", 1), _ECHO.name)
    if name in {"link-bulk", "hub-bulk"}:
        return Case(name, StreamLoad(program, "transfer", 1), _RECEIPT.name)
    load: Load = StreamLoad(program, "rr", _NEIGHBOURS, _RATE)
    if name == "link-quiet":
        return Case(name, load, _CROWD.name)
    return Case(name, load, _CROWD.name, partial(_stalled, program))


@asynccontextmanager
async def _stalled(program: Path, place: Place) -> AsyncIterator[None]:
    """A stream that is full and stays so, until the block is left."""
    row, log = place.topology, program.with_name("stalled.log")
    seconds = str(_FOR_EVER_SECONDS)
    target = map(str, place.running.targets[_DEAF.name][0])
    argv = [str(program), "bulk", "1", "0", seconds, seconds, *target]
    async with (
        StreamEndpoints(program, "deaf", _DEAF).serving(row.server, program.parent),
        started(row.client, argv, log) as process,
    ):
        await trio.sleep(_FILL_SECONDS)
        yield
        check_alive(process, "the stalled stream", log)


def _tell(results: Results) -> str:
    parts = [comparison_table(results), error_lines(results), bar_lines(results, BARS)]
    return "\n\n".join(part for part in parts if part)


BENCH = Bench(run, draw_comparison, _tell)
