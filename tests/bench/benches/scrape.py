"""scrape: what calls wait for while Prometheus asks an agent that knows many endpoints.

The case ``endpoints-N`` says how many endpoints have been called, five to a Service. A process
of its own sends a byte through the reactor every half millisecond and times its way, while
another one scrapes as often as it can. Subjects: ``edgemesh``, the admin server; ``idle``, where
nobody scrapes; ``thread``, the same counts given to prometheus-client in a worker thread, which
is the usual way. Metrics: ``latency_p99`` and ``latency_max`` of the byte, ``scrape_seconds``,
``scrape_bytes``.
"""

from __future__ import annotations

import gc
import random
import socket
import statistics
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import accumulate
from subprocess import PIPE
from typing import Final

import trio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from bench.benches import Bench, Options
from bench.loads import Timing
from bench.promises import Promise, draw_promises, promise_table
from bench.report import duration
from bench.results import Results
from edgemesh.model.errors import OperatorError
from edgemesh.model.meters import LATENCY_BOUNDS, by_class
from edgemesh.model.observe_settings import AdminSettings, MetricsSettings
from edgemesh.model.services import Endpoint, ServicePort, Snapshot, Transport
from edgemesh.observe.admin.pages import Page, Pages
from edgemesh.observe.admin.server import serve_admin
from edgemesh.observe.metrics.exposition import CONTENT_TYPE
from edgemesh.observe.metrics.metrics import Metrics
from edgemesh.reactor.reactor import IN, Reactor

_DEFAULT_CASES: Final = ("endpoints-10000", "endpoints-50000")
_SUBJECTS: Final = ("edgemesh", "idle", "thread")
_ENDPOINTS: Final = 5
_REQUESTS: Final = 20

_PROMISES: Final = (
    Promise("latency_max", 0.010, "longest wait of a call", duration),
    Promise("latency_p99", 0.005, "p99 of a call's wait", duration),
    Promise("scrape_seconds", 5.0, "a scrape", duration),
)

# Its arguments: the descriptor of a socket whose other end echoes, and for how many seconds.
_PROBE: Final = """
import socket, sys, time
sock = socket.socket(fileno=int(sys.argv[1]))
end = time.perf_counter() + float(sys.argv[2])
while (began := time.perf_counter()) < end:
    sock.send(b"x")
    sock.recv(1)
    print(time.perf_counter() - began)
    time.sleep(0.0005)
"""


async def run(options: Options) -> Results:
    """Measure what was asked for."""
    sizes = {case: _size(case) for case in options.cases or _DEFAULT_CASES}
    subjects = options.subjects or _SUBJECTS
    if unknown := set(subjects) - set(_SUBJECTS):
        raise OperatorError(f"there is no subject {unknown.pop()!r}", f"there are {_SUBJECTS}")
    results = Results("scrape", options.rounds, ours=("edgemesh",))
    worlds = {case: _called(size) for case, size in sizes.items()}
    # As the agent does with its first snapshot (app/follow.py): this is not about collections.
    gc.collect()
    gc.freeze()
    for number in range(options.rounds):
        for case, (snapshot, metrics) in worlds.items():
            for subject in subjects:
                print(f"round {number + 1} of {options.rounds}: {case} {subject}", file=sys.stderr)
                measured = await _measure(subject, snapshot, metrics, options.timing)
                results.add(case, subject, measured)
    return results


def _size(case: str) -> int:
    prefix, _, number = case.partition("-")
    if prefix != "endpoints" or not number.isdecimal() or int(number) < 1:
        raise OperatorError(f"there is no case {case!r}", "there is endpoints-N, N at least 1")
    return int(number)


def _called(size: int) -> tuple[Snapshot, Metrics]:
    """Services whose endpoints have all been called."""
    metrics = Metrics(MetricsSettings(max_meters=size))
    chance = random.Random(0)
    ports = [_port(number) for number in range(-(-size // _ENDPOINTS))]
    for port in ports:
        for endpoint in port.endpoints:
            meter = metrics.meters.meter(port, endpoint, "http")
            for _ in range(_REQUESTS):
                meter.observe(200 if chance.random() < 0.95 else 503, chance.expovariate(200))
            meter.connections = 3
            meter.bytes_sent = meter.bytes_received = 4096
    return Snapshot(ports={port.key: port for port in ports}), metrics


def _port(number: int) -> ServicePort:
    tail = f"{number // 250}.{number % 250 + 1}"
    endpoints = tuple(Endpoint(f"10.{200 + index}.{tail}", 8080) for index in range(_ENDPOINTS))
    return ServicePort(
        "default", f"service-{number:05}", "http", Transport.TCP, 80, endpoints=endpoints
    )


async def _measure(
    subject: str, snapshot: Snapshot, metrics: Metrics, timing: Timing
) -> dict[str, float]:
    scrapes: list[tuple[float, int]] = []
    reactor = Reactor(repoll_seconds=0)
    ours, theirs = socket.socketpair()
    async with trio.open_nursery() as nursery:
        with reactor, theirs:
            reactor.watch(ours.fileno(), _Echo(ours), IN)
            await nursery.start(reactor.run)
            scraped = trio.Event()
            if subject == "idle":
                scraped.set()
            else:
                pages = {"/metrics": _page(subject, snapshot, metrics)}
                nursery.start_soon(_scrape_again_and_again, pages, scrapes, scraped)
            waits = await _probe(theirs, timing.seconds)
            await scraped.wait()
            nursery.cancel_scope.cancel()
        ours.close()
    measured = {
        "latency_p99": statistics.quantiles(waits, n=100)[98],
        "latency_max": max(waits),
    }
    if scrapes:
        measured["scrape_seconds"] = statistics.median(seconds for seconds, _ in scrapes)
        measured["scrape_bytes"] = scrapes[0][1]
    return measured


async def _probe(sock: socket.socket, seconds: float) -> list[float]:
    """How long each byte took to come back, in seconds."""
    argv = [sys.executable, "-c", _PROBE, str(sock.fileno()), str(seconds)]
    done = await trio.run_process(argv, capture_stdout=True, pass_fds=[sock.fileno()])
    return [float(line) for line in done.stdout.split()]


async def _scrape_again_and_again(
    pages: Pages, scrapes: list[tuple[float, int]], scraped: trio.Event
) -> None:
    """Serve pages and ask for them; note how long each answer took and its bytes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        settings = AdminSettings(listen=f"127.0.0.1:{free.getsockname()[1]}")
    async with trio.open_nursery() as nursery:
        _, port = await nursery.start(serve_admin, settings, pages)
        # One process for all of them, since making one would hold us up. What it writes to
        # standard error comes at once.
        url = f"http://127.0.0.1:{port}/metrics?[1-1000000]"
        argv = [
            "curl",
            "-sf",
            url,
            "-o",
            "/dev/null",
            "-w",
            "%{stderr}%{time_total} %{size_download}\n",
        ]
        async with _program(argv) as told:
            lines = b""
            async for data in told:
                *whole, lines = (lines + data).split(b"\n")
                for line in whole:
                    seconds, size = line.split()
                    scrapes.append((float(seconds), int(size)))
                    scraped.set()


@asynccontextmanager
async def _program(argv: list[str]) -> AsyncIterator[trio.abc.ReceiveStream]:
    """What a program writes to standard error, for as long as it is wanted."""
    async with trio.open_nursery() as nursery:
        start = partial(trio.run_process, argv, stderr=PIPE, check=False)
        process: trio.Process = await nursery.start(start)
        assert process.stderr is not None
        yield process.stderr
        nursery.cancel_scope.cancel()


def _page(subject: str, snapshot: Snapshot, metrics: Metrics) -> Callable[[], Awaitable[Page]]:
    async def in_slices() -> Page:
        await trio.lowlevel.checkpoint()
        return Page(metrics.text(snapshot, trio.current_time(), ()), CONTENT_TYPE)

    async def in_thread() -> Page:
        text = await trio.to_thread.run_sync(generate_latest, registry)
        return Page(text, CONTENT_TYPE)

    registry = CollectorRegistry(auto_describe=False)
    if subject == "edgemesh":
        return in_slices
    registry.register(_Collector(metrics))
    return in_thread


class _Collector(Collector):
    """What `Metrics` counts, as prometheus-client wants it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        names = ("service", "port", "endpoint", "path")
        requests = CounterMetricFamily("edgemesh_requests", "Requests.", labels=(*names, "code"))
        durations = HistogramMetricFamily("edgemesh_duration_seconds", "Time.", labels=names)
        bounds = [f"{bound:g}" for bound in LATENCY_BOUNDS] + ["+Inf"]
        numbers = {
            name: CounterMetricFamily(f"edgemesh_{name}", "Number.", labels=names)
            for name in ("connections", "bytes_sent", "bytes_received")
        }
        for counted in self._metrics.meters.all():
            key, meter = counted.key, counted.meter
            labels = (key.port[1], str(key.port[3]), key.address, key.path)
            for name, count in by_class(meter.responses).items():
                requests.add_metric((*labels, name), count)
            buckets = list(zip(bounds, map(float, accumulate(meter.latencies)), strict=True))
            durations.add_metric(labels, buckets, meter.seconds)
            for name, family in numbers.items():
                family.add_metric(labels, getattr(meter, name))
        yield requests
        yield durations
        yield from numbers.values()


class _Echo:
    """A handler of the reactor's."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def on_events(self, events: int) -> None:  # noqa: ARG002 - a byte is there
        self._sock.send(self._sock.recv(1))

    def on_bug(self, error: Exception) -> None:
        raise AssertionError from error


BENCH = Bench(
    run,
    lambda results, path: draw_promises(results, _PROMISES, path),
    lambda results: promise_table(results, _PROMISES),
    seconds=3.0,
)
