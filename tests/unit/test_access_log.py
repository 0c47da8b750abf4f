"""The access log: which requests are written, and what their lines say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from log_fixtures import CALL, lines

from edgemesh.model.observe_settings import LogSettings
from edgemesh.model.requests import RequestReport
from edgemesh.observe.access_log import AccessLog
from edgemesh.observe.sink import open_sink

REPORT = RequestReport(
    **CALL,
    protocol="http/1.1",
    method="GET",
    host="web.default",
    path="/orders/7",
    status=200,
    reason="",
    grpc_status="",
    route="HTTPRoute default/web rule 0",
    bytes_sent=0,
    bytes_received=512,
    duration=0.00123456789,
    upstream_duration=0.0010001234,
    query="page=2&access_token=canary",
)
NOON = 1_700_000_000.25

Write = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Write]:
    """Write a report; returns the lines of the file."""
    file = tmp_path / "log"
    settings = LogSettings(file=str(file))
    sink = open_sink(settings)

    def write(report: RequestReport, **options: Any) -> list[dict[str, Any]]:
        AccessLog(sink, LogSettings(**options), clock=lambda: NOON).write(report)
        sink.flush()
        return lines(file)

    yield write
    sink.close()


def log_with(**options: Any) -> AccessLog:
    """One that draws 0, 0.25, 0.5, 0.75 and again; nothing is written to it."""
    lots = iter([0, 0.25, 0.5, 0.75] * 1000)
    settings = LogSettings(**options)
    return AccessLog(open_sink(settings), settings, lot=lambda: next(lots), clock=lambda: NOON)


def test_a_line_has_the_event_the_time_and_every_field(written: Write) -> None:
    [line] = written(REPORT)
    assert line == {
        **msgspec.to_builtins(REPORT),
        "event": "request",
        "time": "2023-11-14T22:13:20.250Z",
        "duration": 0.001235,
        "upstream_duration": 0.001,
        "query": "",
    }


def test_a_query_is_written_when_it_is_asked_for_but_its_secrets_never(written: Write) -> None:
    [line] = written(REPORT, access_query=True)
    assert line["query"] == "page=2&access_token=[redacted]"


def test_a_secret_in_a_path_is_not_written(written: Write) -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZXNoIn0.canary"
    [line] = written(msgspec.structs.replace(REPORT, path=f"/verify/{token}"))
    assert line["path"] == "/verify/[redacted]"


@pytest.mark.parametrize(("rate", "share"), [(0.0, 0), (0.25, 25), (0.5, 50), (1.0, 100)])
def test_the_share_of_requests_is_that_of_the_settings(rate: float, share: int) -> None:
    log = log_with(access_rate=rate)
    assert sum(log.wants() for _ in range(100)) == share


def test_failures_are_written_besides_up_to_a_number_a_second() -> None:
    times = iter([10.0, 10.1, 10.2, 10.9, 11.0])
    settings = LogSettings(access_failures_per_second=2)
    log = AccessLog(open_sink(settings), settings, clock=lambda: next(times))
    wanted = [log.wants(failed=True) for _ in range(5)]
    assert wanted == [True, True, False, False, True]


def test_failures_are_not_written_when_their_number_is_none() -> None:
    assert not log_with(access_failures_per_second=0).wants(failed=True)
