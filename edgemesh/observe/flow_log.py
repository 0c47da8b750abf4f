"""Reports of flows as lines of the log, cheap enough to write thousands a second."""

from __future__ import annotations

import time
from collections.abc import Callable

from edgemesh.model.flows import FlowReport
from edgemesh.observe.event_lines import EventLines
from edgemesh.observe.sink import LineSink


class FlowLog:
    """Writes one line per flow, ``"event": "flow"``, into a sink that somebody else runs."""

    def __init__(self, sink: LineSink, *, clock: Callable[[], float] = time.time) -> None:
        """Share ``sink`` with the log; ``clock`` tells seconds since 1970."""
        self._sink = sink
        self._line = EventLines("flow", clock).line

    def write(self, report: FlowReport) -> None:
        """Take a report; never waits, never fails."""
        self._sink.write(self._line(report))
