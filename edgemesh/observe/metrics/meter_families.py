"""What meters hold, as Prometheus gets it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from edgemesh.model.meters import GRPC_STATUSES, LATENCY_BOUNDS, Meter, by_class
from edgemesh.observe.metrics.exposition import Family, FamilyType, sample
from edgemesh.observe.metrics.histogram import HistogramTemplate
from edgemesh.observe.metrics.meters import Counted

_REQUESTS: Final = "edgemesh_requests_total"
_GRPC: Final = "edgemesh_grpc_responses_total"
_DURATION: Final = "edgemesh_request_duration_seconds"
_DURATION_TEMPLATE: Final = HistogramTemplate(_DURATION, LATENCY_BOUNDS)

# Those that are a number: name, meaning, and where it is.
_NUMBERS: Final[tuple[tuple[str, str, Callable[[Meter], float]], ...]] = (
    (
        "edgemesh_connections_total",
        "Connections to endpoints, and UDP sessions.",
        lambda meter: meter.connections,
    ),
    (
        "edgemesh_connect_failures_total",
        "Attempts to connect to endpoints that were refused or timed out.",
        lambda meter: meter.connect_failures,
    ),
    (
        "edgemesh_resets_total",
        "Connections and streams that endpoints broke off.",
        lambda meter: meter.resets,
    ),
    (
        "edgemesh_timeouts_total",
        "Requests that endpoints did not answer in time.",
        lambda meter: meter.timeouts,
    ),
    (
        "edgemesh_retries_total",
        "Requests that were sent again, by the endpoint that failed before.",
        lambda meter: meter.retries,
    ),
    (
        "edgemesh_ejections_total",
        "Times that the breakers of endpoints opened.",
        lambda meter: meter.ejections,
    ),
    (
        "edgemesh_sent_bytes_total",
        "Bytes from clients to endpoints: bodies of requests, and connections that are over.",
        lambda meter: meter.bytes_sent,
    ),
    (
        "edgemesh_received_bytes_total",
        "Bytes from endpoints to clients: bodies of responses, and connections that are over.",
        lambda meter: meter.bytes_received,
    ),
    (
        "edgemesh_round_trips_total",
        "Round trips that were measured when connections were made, on path connect.",
        lambda meter: meter.round_trips,
    ),
    (
        "edgemesh_round_trip_seconds_total",
        "All of them together.",
        lambda meter: meter.round_trip_seconds,
    ),
)


def meter_families(counted: Sequence[Counted]) -> Iterator[Family]:
    """All families of meters; numbers that are zero are left out, as if not begun yet."""
    yield Family(
        _REQUESTS,
        FamilyType.COUNTER,
        "HTTP requests that are over, by endpoint and class of the status.",
        map(_requests, counted),
    )
    yield Family(
        _GRPC,
        FamilyType.COUNTER,
        "gRPC responses, by endpoint and grpc-status.",
        map(_grpc_responses, counted),
    )
    yield Family(
        _DURATION,
        FamilyType.HISTOGRAM,
        "Time from the first byte of a request to the last of its response.",
        map(_durations, counted),
    )
    for name, meaning, number in _NUMBERS:
        yield Family(name, FamilyType.COUNTER, meaning, _numbers(name, counted, number))


def _requests(one: Counted) -> str:
    return "".join(
        f'{_REQUESTS}{{{one.labels_text},code="{name}"}} {count}\n'
        for name, count in by_class(one.meter.responses).items()
    )


def _grpc_responses(one: Counted) -> str:
    if one.meter.grpc is None:
        return ""
    return "".join(
        f'{_GRPC}{{{one.labels_text},grpc_status="{_grpc_status(code)}"}} {count}\n'
        for code, count in enumerate(one.meter.grpc)
        if count
    )


def _grpc_status(code: int) -> str:
    return str(code) if code < GRPC_STATUSES else "other"


def _durations(one: Counted) -> str:
    meter = one.meter
    if not any(meter.latencies):
        return ""
    return _DURATION_TEMPLATE.text(one.labels_text, meter.latencies, meter.seconds)


def _numbers(
    name: str, counted: Sequence[Counted], number: Callable[[Meter], float]
) -> Iterator[str]:
    for one in counted:
        value = number(one.meter)
        yield sample(name, one.labels_text, value) if value else ""
