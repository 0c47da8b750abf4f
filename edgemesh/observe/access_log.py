"""The access log: HTTP requests as lines of the log, some of them or those that failed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import msgspec

from edgemesh.model.observe_settings import LogSettings
from edgemesh.model.requests import RequestReport
from edgemesh.observe.event_lines import EventLines
from edgemesh.observe.redact import redact, redact_query
from edgemesh.observe.sink import LineSink


class AccessLog:
    """Writes lines ``"event": "request"`` into a sink that somebody else runs.

    Which requests are written is drawn by lot: every n-th one would be the same endpoint's,
    time and again, where endpoints take turns. Failures are written besides, as many a second
    as the settings have it.
    """

    def __init__(
        self,
        sink: LineSink,
        settings: LogSettings,
        *,
        lot: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Share ``sink`` with the log.

        Args:
            sink: takes the lines.
            settings: ``access_*``.
            lot: numbers from 0 to 1, 1 excluded.
            clock: seconds since 1970.
        """
        self._sink = sink
        self._rate = settings.access_rate
        self._with_query = settings.access_query
        self._failures_per_second = settings.access_failures_per_second
        self._lot = lot
        self._clock = clock
        self._line = EventLines("request", clock).line
        self._second = -1
        self._failures = 0

    def wants(self, *, failed: bool = False) -> bool:
        """Whether the request that is over now should be written.

        Args:
            failed: it was refused, or answered with 5xx.
        """
        if self._rate and self._lot() < self._rate:
            return True
        return failed and self._wants_failure()

    def write(self, report: RequestReport) -> None:
        """Take a report; never waits, never fails."""
        shown = msgspec.structs.replace(
            report,
            path=redact(report.path),
            query=redact_query(report.query) if self._with_query else "",
            duration=round(report.duration, 6),
            upstream_duration=round(report.upstream_duration, 6),
        )
        self._sink.write(self._line(shown))

    def _wants_failure(self) -> bool:
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._failures = 0
        self._failures += 1
        return self._failures <= self._failures_per_second
