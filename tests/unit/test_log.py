"""A line of the log is one JSON object, whoever writes it; a flow's report is one too."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from log_fixtures import CALL, lines

from edgemesh.model.flows import FlowReport
from edgemesh.model.observe_settings import LogSettings
from edgemesh.observe.flow_log import FlowLog
from edgemesh.observe.log import configure_logging, get_logger
from edgemesh.observe.sink import LineSink, open_sink

REPORT = FlowReport(
    **CALL,
    transport="TCP",
    destination="10.96.0.10:80",
    route="",
    path="relay",
    movers=("relay",),
    application_protocol="http",
    server_name='we"b',
    alpn=("h2", "http/1.1"),
    bytes_sent=1,
    bytes_received=2,
    duration=0.25,
    ending="closed",
    reason="",
)


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    sinks: list[LineSink] = []

    def configure(**settings: Any) -> Path:
        file = tmp_path / "log"
        sinks.append(configure_logging(LogSettings(file=str(file), **settings)))
        return file

    yield configure
    structlog.reset_defaults()
    root.handlers[:], root.level = before
    for sink in sinks:
        sink.close()


def test_a_line_tells_when_how_bad_where_and_what(configured: Callable[..., Path]) -> None:
    log = get_logger("accept")
    file = configured()
    log.warning("accepting pauses", seconds=1)
    (line,) = lines(file)
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "accepting pauses",
        "level": "warning",
        "component": "accept",
        "seconds": 1,
    }


def test_what_is_below_the_level_is_left_out(configured: Callable[..., Path]) -> None:
    file = configured(level="error")
    get_logger("a").warning("no")
    get_logger("a").error("yes")
    assert [line["event"] for line in lines(file)] == ["yes"]


def test_a_traceback_and_odd_values_stay_in_one_line_without_their_secrets(
    configured: Callable[..., Path],
) -> None:
    file = configured()
    try:
        int("mysql://mesh:canary@db/")
    except ValueError as error:
        get_logger("a").error("bug", exc_info=error, path=Path("/x"), token="canary")
    (line,) = lines(file)
    assert "ValueError" in line["exception"]
    assert "/x" in line["path"]
    assert "canary" not in file.read_text()


def test_warnings_of_libraries_come_the_same_way(configured: Callable[..., Path]) -> None:
    file = configured(level="debug")
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("disk %s", "slow")
    assert [(line["component"], line["event"], line["level"]) for line in lines(file)] == [
        ("library", "disk slow", "warning")
    ]


def test_a_closed_standard_error_does_not_kill_who_logs() -> None:
    program = (
        "import os\n"
        "from edgemesh.model.settings import LogSettings\n"
        "from edgemesh.observe.log import configure_logging, get_logger\n"
        "sink = configure_logging(LogSettings())\n"
        "get_logger('a').error('nobody reads this')\n"
        "print(sink.dropped, os.stat(2).st_rdev == os.stat('/dev/null').st_rdev)\n"
    )
    shell = ["/bin/sh", "-c", f'"$0" -c "{program}" 2>&-', sys.executable]
    done = subprocess.run(shell, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.split() == ["0", "True"]


def test_a_report_is_one_line_with_its_time(tmp_path: Path) -> None:
    file = tmp_path / "log"
    sink = open_sink(LogSettings(file=str(file)))
    times = iter([1700000000.5, 1700000000.75, 1700000001.0])
    flow_log = FlowLog(sink, clock=lambda: next(times))
    for _ in range(3):
        flow_log.write(REPORT)
    sink.close()
    first, second, third = lines(file)
    assert first.pop("event") == "flow"
    assert first.pop("time") == "2023-11-14T22:13:20.500Z"
    assert msgspec.convert(first, FlowReport) == REPORT
    assert second["time"] == "2023-11-14T22:13:20.750Z"
    assert third["time"] == "2023-11-14T22:13:21.000Z"
