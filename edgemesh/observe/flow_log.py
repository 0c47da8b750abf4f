"""Reports of flows as lines of the log, cheap enough to write thousands a second."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from edgemesh.model.flows import FlowReport
from edgemesh.observe.sink import LineSink


class FlowLog:
    """Writes one line per flow, ``"event": "flow"``, into a sink that somebody else runs."""

    def __init__(self, sink: LineSink, *, clock: Callable[[], float] = time.time) -> None:
        """Share ``sink`` with the log; ``clock`` tells seconds since 1970."""
        self._sink = sink
        self._clock = clock
        self._encode = msgspec.json.Encoder().encode
        self._second = -1
        self._until_second = b""

    def write(self, report: FlowReport) -> None:
        """Take a report; never waits, never fails."""
        now = self._clock()
        second = int(now)
        if second != self._second:
            self._second = second
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._until_second = b'{"event":"flow","time":"%b.' % stamp.encode()
        self._sink.write(
            b'%b%03dZ",%b\n'
            % (self._until_second, int(now * 1000) % 1000, self._encode(report)[1:])
        )
