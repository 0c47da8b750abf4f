"""What wrk and h2load print, as it was recorded; pure."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.http_loads import Request, parse_h2load, parse_h2load_log, parse_wrk
from bench.loads import percentile
from bench.topology import Address
from edgemesh.model.errors import OperatorError

WRK = """\
Running 1s test @ http://127.0.0.1:8080/
  1 threads and 2 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    62.92us   93.91us   2.72ms   99.00%
    Req/Sec    29.05k     1.54k   31.02k    81.82%
  Latency Distribution
     50%   56.00us
     75%   66.00us
     90%    1.21ms
     99%    1.05s
  31701 requests in 1.10s, 11.30MB read
Requests/sec:  28817.62
Transfer/sec:     10.27MB
"""
WRONG = "  Socket errors: connect 1, read 20, write 300, timeout 4000\n"
REFUSED = "  Non-2xx or 3xx responses: 1701\n"

H2LOAD = """\
Main benchmark duration is over for thread #0. Stopping all clients.
Stopped all clients for thread #0

finished in 1.00s, 324576.00 req/s, 28.79MB/s
requests: 324576 total, 324704 started, 324576 done, 324576 succeeded, 0 failed, \
0 errored, 0 timeout
status codes: 324576 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 28.79MB (30186592) total, 3.41MB (3571168) headers (space savings 93.71%), \
19.81MB (20772864) data
                     min         max         mean         sd        +/- sd
time for request:       78us      1.75ms       381us        93us    84.85%
"""
# One connection is refused; then one that answers 503 three times.
H2LOAD_REFUSED = """\
finished in 407us, 0.00 req/s, 0B/s
requests: 1 total, 0 started, 0 done, 0 succeeded, 1 failed, 1 errored, 0 timeout
status codes: 0 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 0B (0) total, 0B (0) headers (space savings 0.00%), 0B (0) data
"""
H2LOAD_503 = """\
finished in 642us, 4672.90 req/s, 1.67MB/s
requests: 3 total, 3 started, 3 done, 0 succeeded, 3 failed, 0 errored, 0 timeout
status codes: 0 2xx, 0 3xx, 0 4xx, 3 5xx
traffic: 1.10KB (1122) total, 327B (327) headers (space savings 0.00%), 591B (591) data
"""


def wrk_with(*lines: str) -> str:
    head, rate = WRK.split("Requests/sec")
    return f"{head}{''.join(lines)}Requests/sec{rate}"


def test_wrk_tells_requests_their_rate_and_percentiles_in_any_unit() -> None:
    outcome = parse_wrk(WRK)
    assert (outcome.operations, outcome.errors) == (31701, 0)
    assert outcome.operations / outcome.seconds == pytest.approx(28817.62)
    at = {fraction: percentile(outcome.latency, fraction) for fraction in (0.5, 0.75, 0.9, 0.99)}
    assert at == {0.5: 56e-6, 0.75: 66e-6, 0.9: 1.21e-3, 0.99: 1.05}


def test_wrk_counts_broken_connections_and_other_answers_as_errors() -> None:
    outcome = parse_wrk(wrk_with(WRONG, REFUSED))
    assert outcome.errors == 1 + 20 + 300 + 4000 + 1701
    assert outcome.operations == 30000
    assert outcome.seconds == pytest.approx(31701 / 28817.62)


def test_wrk_without_any_answer_has_no_latencies() -> None:
    silent = WRK.replace("31701 requests", "0 requests").replace("28817.62", "0.00")
    outcome = parse_wrk(silent)
    assert (outcome.operations, outcome.seconds, outcome.latency) == (0, 0.0, ())


@pytest.mark.parametrize("said", ["", "wrk: unknown option\n", WRK.replace("     99%", "     98%")])
def test_what_wrk_never_prints_is_refused(said: str) -> None:
    with pytest.raises(OperatorError):
        parse_wrk(said)


def test_h2load_tells_requests_and_their_rate() -> None:
    outcome = parse_h2load(H2LOAD, reply_bytes=64)
    assert (outcome.operations, outcome.errors, outcome.bytes) == (324576, 0, 20772864)
    assert outcome.operations / outcome.seconds == pytest.approx(324576.0)


def test_replies_whose_bytes_are_missing_are_errors() -> None:
    short = H2LOAD.replace("(20772864) data", f"({20772864 - 65}) data")
    outcome = parse_h2load(short, reply_bytes=64)
    assert (outcome.operations, outcome.errors) == (324574, 2)


def test_bytes_of_replies_that_were_not_finished_are_no_errors() -> None:
    more = H2LOAD.replace("(20772864) data", f"({20772864 + 640}) data")
    assert parse_h2load(more, reply_bytes=64).errors == 0


@pytest.mark.parametrize(("said", "errors"), [(H2LOAD_REFUSED, 1), (H2LOAD_503, 3)])
def test_h2load_counts_what_was_not_answered_as_asked(said: str, errors: int) -> None:
    outcome = parse_h2load(said, reply_bytes=64)
    assert (outcome.operations, outcome.errors) == (0, errors)


def test_what_h2load_never_prints_is_refused() -> None:
    with pytest.raises(OperatorError, match="nothing like"):
        parse_h2load("h2load: unrecognized option\n", reply_bytes=64)


def test_latencies_are_read_from_the_list_that_h2load_writes() -> None:
    lines = ["1795344758021742\t200\t230", "1795344758021743\t200\t212"] * 2
    latency = parse_h2load_log(lines)
    assert latency == ((212_000, 2), (230_000, 2))


def test_a_request_becomes_the_arguments_of_h2load(tmp_path: Path) -> None:
    body = tmp_path / "message"
    request = Request(1, "/a.B/C", ("te: trailers", "x: y"), body)
    assert request.arguments(Address("192.0.2.1", 80)) == [
        *("-H", "te: trailers", "-H", "x: y", "-d", str(body)),
        "http://192.0.2.1:80/a.B/C",
    ]
    plain = Request(1, http1=True).arguments(Address("192.0.2.1", 80))
    assert plain == ["--h1", "http://192.0.2.1:80/"]
