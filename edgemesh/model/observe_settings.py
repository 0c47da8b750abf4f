"""Settings of what operators see: logs, metrics, the admin server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Logs, as JSON lines on standard error or into a file.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        flows: whether each flow's report is written.
        access_rate: the share of HTTP requests whose reports are written, 0 to 1.
        access_failures_per_second: reports of requests that were refused or answered with 5xx
            are written besides, up to so many a second; 0 for none.
        access_query: whether the query of a request is written, too.
        file: "" means standard error.
        buffer_bytes: lines kept for a consumer that is slow; beyond it they are dropped and
            counted.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    flows: bool = True
    access_rate: Annotated[float, Meta(ge=0, le=1)] = 0.0
    access_failures_per_second: Annotated[int, Meta(ge=0)] = 10
    access_query: bool = False
    file: str = ""
    buffer_bytes: int = 1048576


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """What is counted for Prometheus.

    Args:
        max_meters: endpoints, times forwarding paths, that are counted one by one; those beyond
            it are counted together, as service ``other``. Also how many kinds of refusals are
            told apart by Service.
        keep_seconds: counts of an endpoint that is gone are kept so long when nobody asks for
            them, else until they were told.
    """

    max_meters: Count = 10000
    keep_seconds: Seconds = 300.0


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """The admin server: metrics, health and status over HTTP, without authentication.

    Args:
        enabled: whether it is served.
        listen: ``address:port`` or ``[address]:port``. Whoever reaches it may read all of it.
        max_connections: at a time; beyond it one that waits for no answer gives way.
        max_head_bytes: of a request.
        idle_timeout_seconds: silence that ends a connection, also in the midst of a request
            or of an answer that is not taken.
        linger_seconds: how long what a refused client still sends is read, so that it gets to
            read the answer.
        drain_seconds: how long answers that have begun may take at the agent's end.
    """

    enabled: bool = True
    listen: str = "127.0.0.1:15020"
    max_connections: Count = 64
    max_head_bytes: Count = 8192
    idle_timeout_seconds: Seconds = 30.0
    linger_seconds: Seconds = 1.0
    drain_seconds: Seconds = 1.0
