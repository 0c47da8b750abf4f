"""http: requests that are balanced one by one, against three proxies and none.

Every subject takes the calls to the same Service addresses in the node's namespace, transparently,
and forwards them to the same two endpoints with one thread. The agent runs as users run it, with
policies: a quota that is never reached, a breaker, metrics, and an access log of one request in a
hundred; the peers do without all that.

``keepalive-N``: GET by wrk on N connections, 64 bytes from nginx. ``h2-8x16``: the same by h2load
on 8 connections with 16 streams each, HTTP/2 on both sides, from nghttpd. ``grpc-64``: unary calls
with 64 bytes each way to grpcio's server, 64 at a time on 8 connections. They are shaped by h2load,
since grpcio's own client would be the slowest part; its server still is, so this is for the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from bench.bars import Bar, bar_lines, error_lines, ratio_table
from bench.benches import Bench, Options
from bench.benches.relay import selected
from bench.http_endpoints import HttpEndpoints, grpc_endpoints, http2_endpoints, web_endpoints
from bench.http_loads import H2Load, WrkLoad
from bench.http_plot import draw_requests
from bench.loads import Load
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

_WEB = service("web", "10.96.0.10", 8080, "http")
_HTTP2 = service("http2", "10.96.0.11", 8081, "http2")
_GRPC = service("grpc", "10.96.0.12", 8082, "grpc")

# What a user would have: all of it at work, none of it in the way.
_POLICY = {
    "path": "http",
    "qps": {"client": {"rate": 1000000, "burst": 1000000}},
    "circuitBreaker": {"consecutiveErrors": 5, "baseEjection": "30s"},
}
_SETTINGS = """
[log]
access_rate = 0.01
"""

_SUBJECTS: Mapping[str, Subject] = {
    "edgemesh": partial(edgemesh, more_settings=_SETTINGS, policy=_POLICY),
    "direct": direct,
    "haproxy": haproxy,
    "nginx": nginx,
    "envoy": envoy,
}
_LEFT_OUT = {"nginx": {_HTTP2.name, _GRPC.name}}

BARS = (
    Bar("keepalive-64", "requests_per_second", "haproxy", at_least=0.95),
    Bar("keepalive-64", "requests_per_second", "envoy", at_least=2.5),
    Bar("keepalive-64", "machine_cpu_per_request", "haproxy", at_most=1.15),
    Bar("keepalive-1", "latency_p50", "haproxy", at_most=0.8),
    Bar("h2-8x16", "requests_per_second", "envoy", at_least=2.5),
    Bar("h2-8x16", "requests_per_second", "haproxy", at_least=0.75),
)


async def run(options: Options) -> Results:
    """Measure what was asked for."""
    cases = selected(_cases(options.directory), options.cases, "case")
    subjects = selected(_SUBJECTS, options.subjects, "subject")
    comparison = Comparison(
        [Case(name, load, called.service.name) for name, (called, load) in cases.items()],
        subjects,
        list(dict.fromkeys(called for called, _ in cases.values())),
        left_out=_LEFT_OUT,
    )
    results = Results("http", options.rounds, ours=("edgemesh",))
    await compare(comparison, results, options.timing, options.directory)
    return results


def _cases(directory: Path) -> Mapping[str, tuple[HttpEndpoints, Load]]:
    """What is called, and how."""
    web, http2 = web_endpoints(_WEB), http2_endpoints(_HTTP2)
    grpc = grpc_endpoints(_GRPC, directory)
    return {
        "keepalive-64": (web, WrkLoad(64)),
        "keepalive-1": (web, WrkLoad(1)),
        "h2-8x16": (http2, H2Load(8, 16, http2.request, directory)),
        "grpc-64": (grpc, H2Load(8, 8, grpc.request, directory)),
    }


def _tell(results: Results) -> str:
    parts = [comparison_table(results), ratio_table(results), error_lines(results)]
    return "\n\n".join(part for part in [*parts, bar_lines(results, BARS)] if part)


BENCH = Bench(run, draw_requests, _tell, seconds=2.0)
