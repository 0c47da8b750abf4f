"""Lines of the log that are written thousands of times a second, so without structlog."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec


class EventLines:
    """Turns values into lines ``{"event": ..., "time": ..., ...}``.

    Not for use by several threads.
    """

    def __init__(self, event: str, clock: Callable[[], float] = time.time) -> None:
        """Name the event; ``clock`` tells seconds since 1970."""
        self._event = event.encode()
        self._clock = clock
        self._encode = msgspec.json.Encoder().encode
        self._second = -1
        self._until_second = b""

    def line(self, value: Any) -> bytes:
        """One line, newline included; ``value`` is encoded as an object with a field at least."""
        now = self._clock()
        second = int(now)
        if second != self._second:
            self._second = second
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._until_second = b'{"event":"%b","time":"%b.' % (self._event, stamp.encode())
        return b'%b%03dZ",%b\n' % (
            self._until_second,
            int(now * 1000) % 1000,
            self._encode(value)[1:],
        )
