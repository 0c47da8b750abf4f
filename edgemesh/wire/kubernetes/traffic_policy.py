"""TrafficPolicy (policy.edgemesh.io/v1alpha1): what Service, Istio and Gateway API lack.

Fields are named here as `edgemesh.model.policies` has them, and every field that is not given
is None: what lies below it counts.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import field

from edgemesh.model.policies import (
    Balance,
    EndpointRemoval,
    Locality,
    Observe,
    Path,
    QuotaScope,
    RetryOn,
)
from edgemesh.wire.kubernetes.fields import Count, Port, ServiceName
from edgemesh.wire.kubernetes.parsed import Duration, Interval
from edgemesh.wire.kubernetes.quantities import (
    CookieName,
    CookiePath,
    ErrorStatus,
    FinalStatus,
    GrpcStatus,
    HeaderName,
    HostPattern,
    HttpPath,
    Percent,
    PositiveCount,
    Rate,
    RingSize,
)
from edgemesh.wire.kubernetes.tolerant import PolicyObject, PolicyView


class TargetReference(PolicyView, frozen=True, kw_only=True):
    """The Service, and the port of it by number or by name; without one, every port of it."""

    whole: ClassVar[bool] = True
    one_of: ClassVar[tuple[str, ...]] = ("port", "section_name")

    kind: Literal["Service"]
    name: ServiceName
    group: Literal["", "core"] = ""
    port: Port | None = None
    section_name: str | None = None


class QuotaSpec(PolicyView, frozen=True, kw_only=True):
    """Calls a second, and how many at once; without ``burst`` those of one second."""

    rate: Rate
    burst: PositiveCount | None = None
    scope: QuotaScope = field(name="per", default=QuotaScope.SERVICE)


class QuotasSpec(PolicyView, frozen=True, kw_only=True):
    """``spec.qps``: enforced where the call starts, and by the node that runs the endpoint."""

    client: QuotaSpec | None = None
    server: QuotaSpec | None = None


class ConcurrencySpec(PolicyView, frozen=True, kw_only=True):
    """``spec.concurrency``: calls at a time, enforced by the node that runs the endpoint."""

    max_concurrent: Count | None = None
    max_queue: Count | None = None
    queue_timeout_seconds: Duration | None = field(name="queueTimeout", default=None)


class CircuitBreakerSpec(PolicyView, frozen=True, kw_only=True):
    """``spec.circuitBreaker``: when endpoints are taken out, and how much may be open."""

    consecutive_errors: Count | None = None
    consecutive_gateway_errors: Count | None = None
    interval_seconds: Interval | None = field(name="interval", default=None)
    success_rate_minimum_hosts: PositiveCount | None = None
    success_rate_request_volume: Count | None = None
    success_rate_stdev_factor: Rate | None = None
    base_ejection_seconds: Interval | None = field(name="baseEjection", default=None)
    max_ejection_seconds: Interval | None = field(name="maxEjection", default=None)
    max_ejection_percent: Percent | None = None
    half_open_requests: PositiveCount | None = None

    max_connections: Count | None = None
    max_pending: Count | None = None
    max_requests: Count | None = None
    max_retries: Count | None = None
    max_requests_per_connection: Count | None = None


class TimeoutsSpec(PolicyView, frozen=True, kw_only=True):
    """``spec.timeouts``; 0s for none."""

    connect: Duration | None = None
    request: Duration | None = None
    idle: Duration | None = None


class RetriesSpec(PolicyView, frozen=True, kw_only=True):
    """``spec.retries``; not ``on``, which YAML 1.1 takes for true."""

    attempts: Count | None = None
    per_try_seconds: Duration | None = field(name="perTry", default=None)
    budget_percent: Percent | None = None
    on: tuple[RetryOn, ...] | None = field(name="retryOn", default=None)
    statuses: tuple[ErrorStatus, ...] | None = None
    grpc_statuses: tuple[GrpcStatus, ...] | None = None
    backoff_seconds: Duration | None = field(name="backoff", default=None)
    any_method: bool | None = None


class StatusRange(PolicyView, frozen=True, kw_only=True):
    """Statuses from and to, both included."""

    first: FinalStatus = field(name="from")
    last: FinalStatus = field(name="to")


class TcpProbe(PolicyView, frozen=True, kw_only=True):
    """A connection."""


class HttpProbe(PolicyView, frozen=True, kw_only=True):
    """A GET request, and the statuses of a healthy answer."""

    path: HttpPath = "/"
    host: HostPattern | None = None
    expected: StatusRange | None = field(name="statuses", default=None)


class GrpcProbe(PolicyView, frozen=True, kw_only=True):
    """``grpc.health.v1.Health/Check``; without ``service``, the server as a whole."""

    service: str = ""


class HealthCheckSpec(PolicyView, frozen=True, kw_only=True):
    """``spec.healthCheck``: by connecting, unless something else is asked for."""

    one_of: ClassVar[tuple[str, ...]] = ("http", "grpc", "tcp")

    tcp: TcpProbe | None = None
    http: HttpProbe | None = None
    grpc: GrpcProbe | None = None
    port: Port | None = None
    interval_seconds: Interval | None = field(name="interval", default=None)
    timeout_seconds: Interval | None = field(name="timeout", default=None)
    healthy_threshold: PositiveCount | None = None
    unhealthy_threshold: PositiveCount | None = None


class CookieSpec(PolicyView, frozen=True, kw_only=True):
    """A cookie; with ``ttl``, a client without it is given one (0s: for its session)."""

    name: CookieName
    path: CookiePath = "/"
    ttl: Duration | None = None


class HashSpec(PolicyView, frozen=True, kw_only=True):
    """What is hashed."""

    one_of: ClassVar[tuple[str, ...]] = ("header", "cookie", "query", "source_address")

    header: HeaderName | None = None
    cookie: CookieSpec | None = None
    query: str | None = None
    source_address: bool | None = None


class BalancingSpec(PolicyView, frozen=True, kw_only=True):
    """``spec.loadBalancing``."""

    algorithm: Balance | None = None
    hashed: HashSpec | None = field(name="hash", default=None)
    ring_size: RingSize | None = None
    bounded_load_percent: Count | None = None
    affinity: Duration | None = None
    slow_start_seconds: Duration | None = field(name="slowStart", default=None)
    locality: Locality | None = None
    panic_percent: Percent | None = None


class ConnectionsSpec(PolicyView, frozen=True, kw_only=True):
    """``spec.connections``."""

    on_endpoint_removed: EndpointRemoval | None = None


class TrafficPolicySpec(PolicyView, frozen=True, kw_only=True):
    """``spec`` of a TrafficPolicy."""

    target_ref: TargetReference
    path: Path | None = None
    observe: Observe | None = None
    qps: QuotasSpec | None = None
    concurrency: ConcurrencySpec | None = None
    circuit_breaker: CircuitBreakerSpec | None = None
    timeouts: TimeoutsSpec | None = None
    retries: RetriesSpec | None = None
    health_check: HealthCheckSpec | None = None
    load_balancing: BalancingSpec | None = None
    connections: ConnectionsSpec | None = None


class TrafficPolicy(PolicyObject, frozen=True, kw_only=True):
    """A TrafficPolicy."""

    spec: TrafficPolicySpec
