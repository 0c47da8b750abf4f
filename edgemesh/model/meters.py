"""What is counted about the calls of one endpoint: plain numbers, for the hot path to add to.

There are no labels and no look-ups here. Whoever holds a meter adds to its slots, and whoever
shows it (`observe.metrics`) reads them; both on the data plane's thread, so there is no lock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

# Upper bounds of the latency histogram in seconds, 1-2.5-5 a decade. The last bucket has none.
LATENCY_BOUNDS: Final = (
    *(0.0001, 0.00025, 0.0005),
    *(0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0),
    *(10.0, 30.0),
)
# By the first digit of a status; those of no class of RFC 9110 section 15 are one.
STATUS_CLASSES: Final = (
    *("none", "1xx", "2xx", "3xx", "4xx", "5xx"),
    *("other", "other", "other", "other"),
)
# 0 to 16 (grpc/doc/statuscodes.md); the last counts what is none of them.
GRPC_STATUSES: Final = 17


class Meter:
    """Counts since the meter was made.

    Attributes:
        responses: by the first digit of the status; [0] without a response. `by_class` adds
            them up.
        latencies: how many requests took as long as each of LATENCY_BOUNDS at most and longer
            than the one before it; the last beyond all of them.
        seconds: that all of them took together.
        grpc: responses by ``grpc-status``; None until there is one.
        connections: that were opened, or with UDP sessions.
        connect_failures: attempts to connect that were refused or timed out.
        resets: connections or streams that the endpoint broke off.
        timeouts: requests that it did not answer in time.
        retries: requests that were sent again, to another or to it, after it had failed.
        ejections: times that its breaker opened.
        bytes_sent, bytes_received: of bodies with HTTP, of all else otherwise; from the client
            to the endpoint, and back.
        round_trips: that were measured when connections were made; only the kernel's own.
        round_trip_seconds: all of them together.
    """

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "connect_failures",
        "connections",
        "ejections",
        "grpc",
        "latencies",
        "resets",
        "responses",
        "retries",
        "round_trip_seconds",
        "round_trips",
        "seconds",
        "timeouts",
    )

    def __init__(self) -> None:
        self.responses = [0] * 10
        self.latencies = [0] * (len(LATENCY_BOUNDS) + 1)
        self.seconds = 0.0
        self.grpc: list[int] | None = None
        self.connections = 0
        self.connect_failures = 0
        self.resets = 0
        self.timeouts = 0
        self.retries = 0
        self.ejections = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.round_trips = 0
        self.round_trip_seconds = 0.0

    def observe(self, status: int, seconds: float) -> None:
        """Count a request that is over.

        Args:
            status: of its response, 100 to 999; 0 when there was none.
            seconds: from its begin to its end.
        """
        self.responses[status // 100] += 1
        self.latencies[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        self.seconds += seconds

    def observe_grpc(self, code: int) -> None:
        """Count a ``grpc-status`` besides; any number."""
        if self.grpc is None:
            self.grpc = [0] * (GRPC_STATUSES + 1)
        self.grpc[code if 0 <= code < GRPC_STATUSES else GRPC_STATUSES] += 1


def by_class(responses: Sequence[int]) -> dict[str, int]:
    """`Meter.responses` by STATUS_CLASSES, without those that are zero."""
    classes: dict[str, int] = {}
    for name, count in zip(STATUS_CLASSES, responses, strict=True):
        if count:
            classes[name] = classes.get(name, 0) + count
    return classes
