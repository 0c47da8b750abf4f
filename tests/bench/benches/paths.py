"""paths: each way in which edgemesh moves bytes, against the kernel alone and three proxies.

``connect``, ``splice`` and ``relay`` are agents whose policy asks for that path. ``direct`` has no
Service address to translate; ``dnat`` is what kube-proxy does. All take the calls in the node's
namespace, but ``connect``: it changes the address where the client's programs connect, which run
in a cgroup of their own under every subject. Its agent installs rules only when they are needed
(``netfilter.install``), which they are not where all Services are balanced like that; one that
diverts other calls as well slows these down. Proxies of TCP they are all, in the case ``wrk-64``
as well, which has a single endpoint: wrk aims at one address only.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from bench.bars import Bar, bar_lines, error_lines
from bench.benches import Bench, Options
from bench.benches.relay import ECHO, SINK, STREAM_CASES, selected, stream_case
from bench.endpoints import Endpoints, StreamEndpoints
from bench.http_endpoints import web_endpoints
from bench.http_loads import WrkLoad
from bench.loads import compile_load
from bench.plot import draw_comparison
from bench.report import comparison_table
from bench.results import Results
from bench.rounds import Case, Comparison, compare
from bench.subjects import Subject
from bench.subjects.direct import direct
from bench.subjects.dnat import dnat
from bench.subjects.edgemesh import edgemesh
from bench.subjects.envoy import envoy
from bench.subjects.haproxy import haproxy
from bench.subjects.nginx import nginx
from bench.topology import ENDPOINT_ADDRESSES, Address, Service

_WEB = Service("web", Address("10.96.0.12", 8080), (Address(ENDPOINT_ADDRESSES[0], 8080),))
_WRK = "wrk-64"
_OURS = ("connect", "splice", "relay")
_SUBJECTS: Mapping[str, Subject] = {
    "connect": partial(edgemesh, policy={"path": "connect"}, with_bpf=True, install="needed"),
    "splice": partial(edgemesh, policy={"path": "splice"}, with_bpf=True),
    "relay": partial(edgemesh, policy={"path": "relay"}),
    "direct": direct,
    "dnat": dnat,
    "haproxy": haproxy,
    "nginx": nginx,
    "envoy": envoy,
}
_METRICS = {
    **{
        name: "bytes_per_second" if kind == "bulk" else "requests_per_second"
        for name, (kind, _) in STREAM_CASES.items()
    },
    _WRK: "requests_per_second",
}

BARS = (
    *(Bar(name, metric, "direct", 0.95, of="connect") for name, metric in _METRICS.items()),
    *(Bar(name, metric, "dnat", 1, of="connect") for name, metric in _METRICS.items()),
    Bar("rr-1", "latency_p50", "haproxy", at_most=1, of="splice"),
    Bar("bulk-1", "bytes_per_second", "haproxy", 1.3, of="splice"),
    Bar("bulk-8", "bytes_per_second", "haproxy", 1.3, of="splice"),
    # Near zero, for who does not touch a message.
    Bar("rr-1", "subject_cpu_per_request", "haproxy", at_most=0.1, of="splice"),
    Bar("rr-64", "subject_cpu_per_request", "haproxy", at_most=0.1, of="splice"),
    Bar("rr-64", "requests_per_second", "haproxy", 0.9, of="relay"),
)


async def run(options: Options) -> Results:
    """Measure what was asked for."""
    cases = selected(_METRICS, options.cases, "case")
    subjects = selected(_SUBJECTS, options.subjects, "subject")
    program = await compile_load(options.directory)
    endpoints: list[Endpoints] = [
        StreamEndpoints(program, "echo", ECHO),
        StreamEndpoints(program, "sink", SINK),
        web_endpoints(_WEB),
    ]
    made = [_case(program, name) for name in cases]
    # Our subjects have to tell of calls of every Service.
    called = {case.service for case in made}
    serving = [each for each in endpoints if each.service.name in called]
    comparison = Comparison(made, subjects, serving)
    results = Results("paths", options.rounds, ours=_OURS)
    await compare(comparison, results, options.timing, options.directory)
    return results


def _case(program: Path, name: str) -> Case:
    return Case(_WRK, WrkLoad(64), _WEB.name) if name == _WRK else stream_case(program, name)


def _tell(results: Results) -> str:
    parts = [comparison_table(results), error_lines(results), bar_lines(results, BARS)]
    return "\n\n".join(part for part in parts if part)


BENCH = Bench(run, draw_comparison, _tell)
