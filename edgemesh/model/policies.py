"""Traffic policies: how the calls of a Service are balanced, limited, broken off and repeated.

Values of one policy come from several objects (Service, DestinationRule, TrafficPolicy); here
they are one, with every default filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Path(StrEnum):
    """Forwarding paths that a policy may ask for; ``auto`` is the lightest that honours it."""

    AUTO = "auto"
    CONNECT = "connect"
    SPLICE = "splice"
    RELAY = "relay"
    HTTP = "http"


class Observe(StrEnum):
    """What is counted of flows that the kernel moves."""

    NOTHING = "none"
    HTTP = "http"  # requests of HTTP/1.1


class Balance(StrEnum):
    """How an endpoint is chosen among several."""

    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    LEAST_REQUEST = "least_request"
    RING_HASH = "ring_hash"
    MAGLEV = "maglev"


class HashSource(StrEnum):
    """What a consistent hash is taken of."""

    HEADER = "header"
    COOKIE = "cookie"
    QUERY = "query"
    SOURCE_ADDRESS = "source_address"


@dataclass(frozen=True, slots=True)
class HashKey:
    """Which part of a call says where it belongs.

    Args:
        source: where to look; a call without it is balanced at random.
        name: of the header (lower case), cookie or query parameter; "" for the source address.
        cookie_ttl_seconds: a client without the cookie is given one that lives so long, 0 for
            as long as its session; None when cookies are only read.
        cookie_path: of a cookie that is given.
    """

    source: HashSource
    name: str = ""
    cookie_ttl_seconds: float | None = None
    cookie_path: str = "/"


class Locality(StrEnum):
    """How far a call may go."""

    ANY = "any"
    PREFER_NODE = "prefer_node"  # this node, else its zone, else any
    PREFER_ZONE = "prefer_zone"  # this node's zone, else any
    NODE_ONLY = "node_only"  # internalTrafficPolicy: Local


@dataclass(frozen=True, slots=True)
class Balancing:
    """How endpoints are chosen.

    Args:
        algorithm: see there.
        hash_key: of ring hash and Maglev; None means the source address.
        ring_size: least number of points on the ring.
        bounded_load_percent: with a hash, no endpoint takes more than so many percent of the
            average number of open requests; 0 for no bound.
        affinity_seconds: ``sessionAffinity: ClientIP``: calls of an address go where its last
            one went, if that was no longer ago than this; 0 for no affinity.
        slow_start_seconds: a new endpoint's share grows to its full over this time; 0 for at
            once.
        locality: see there.
        panic_percent: when fewer than so many percent of the endpoints are healthy, all of them
            are used, healthy or not; 0 for never.
    """

    algorithm: Balance = Balance.ROUND_ROBIN
    hash_key: HashKey | None = None
    ring_size: int = 1024
    bounded_load_percent: int = 0
    affinity_seconds: int = 0
    slow_start_seconds: float = 0.0
    locality: Locality = Locality.ANY
    panic_percent: int = 0


class QuotaScope(StrEnum):
    """What shares one token bucket."""

    SERVICE = "service"
    SOURCE = "source"  # each calling workload has its own
    ROUTE = "route"  # each route rule has its own


@dataclass(frozen=True, slots=True)
class Quota:
    """A token bucket: ``rate`` calls a second and up to ``burst`` at once."""

    rate: float
    burst: int
    scope: QuotaScope = QuotaScope.SERVICE


@dataclass(frozen=True, slots=True)
class Breaker:
    """When an endpoint is taken out, and when it comes back.

    Args:
        consecutive_errors: failures in a row (5xx, connect failure, reset, timeout) that eject
            it; 0 for never.
        consecutive_gateway_errors: the same for 502, 503, 504 and what is no answer; 0 for
            never.
        interval_seconds: how often success rates are compared; how long failures in a row
            may be apart.
        success_rate_minimum_hosts, success_rate_request_volume: success rates are compared when
            so many endpoints had so many requests in an interval; 0 requests for never.
        success_rate_stdev_factor: an endpoint is ejected when its rate is more than so many
            standard deviations below the mean.
        base_ejection_seconds: times the number of ejections in a row, up to
            ``max_ejection_seconds``.
        max_ejection_percent: of the endpoints that may be out at the same time; one always may.
        half_open_requests: trial requests that must succeed after an ejection before the
            endpoint takes its share again.
    """

    consecutive_errors: int = 5
    consecutive_gateway_errors: int = 0
    interval_seconds: float = 10.0
    success_rate_minimum_hosts: int = 5
    success_rate_request_volume: int = 0
    success_rate_stdev_factor: float = 1.9
    base_ejection_seconds: float = 30.0
    max_ejection_seconds: float = 300.0
    max_ejection_percent: int = 50
    half_open_requests: int = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a Service may be open at a time, per node that calls; 0 for no limit.

    Args:
        max_connections: to its endpoints.
        max_pending: requests that wait for a connection.
        max_requests: that are not answered yet.
        max_retries: that are not answered yet.
        max_requests_per_connection: a connection is closed after so many.
    """

    max_connections: int = 0
    max_pending: int = 0
    max_requests: int = 0
    max_retries: int = 0
    max_requests_per_connection: int = 0


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What the node that runs an endpoint lets through to it, whoever calls; 0 for no limit.

    Args:
        quota: calls a second.
        max_concurrent: calls at a time, per Service port.
        max_queue: calls that wait for others to finish; beyond it they are refused.
        queue_timeout_seconds: how long they wait at most.
    """

    quota: Quota | None = None
    max_concurrent: int = 0
    max_queue: int = 0
    queue_timeout_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Deadlines in seconds; None for the one of the agent's configuration, 0 for none.

    Args:
        connect: for each endpoint that is tried.
        request: from the request's first byte to the response's last.
        idle: silence that ends a connection or a stream.
    """

    connect: float | None = None
    request: float | None = None
    idle: float | None = None


class RetryOn(StrEnum):
    """What is a reason to try again."""

    CONNECT_FAILURE = "connect-failure"
    RESET = "reset"
    REFUSED_STREAM = "refused-stream"
    GATEWAY_ERROR = "gateway-error"  # 502, 503, 504
    SERVER_ERROR = "5xx"
    TIMEOUT = "timeout"  # of one try
    STATUS = "retriable-status-codes"


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request may be sent again.

    Args:
        attempts: beyond the first.
        per_try_seconds: deadline of each; 0 for that of the request alone.
        budget_percent: of the open requests that may be retries; 3 always may.
        on: reasons.
        statuses: what ``STATUS`` means; for gRPC, see ``grpc_statuses``.
        grpc_statuses: codes of ``grpc-status`` that are a reason.
        backoff_seconds: the first pause; it doubles, with jitter.
        any_method: whether requests that are not idempotent are repeated, too.
    """

    attempts: int = 2
    per_try_seconds: float = 0.0
    budget_percent: int = 20
    on: frozenset[RetryOn] = frozenset(
        {
            RetryOn.CONNECT_FAILURE,
            RetryOn.RESET,
            RetryOn.REFUSED_STREAM,
            RetryOn.GATEWAY_ERROR,
            RetryOn.TIMEOUT,
        }
    )
    statuses: frozenset[int] = frozenset()
    grpc_statuses: frozenset[int] = frozenset()
    backoff_seconds: float = 0.025
    any_method: bool = False


class ProbeKind(StrEnum):
    """How an endpoint is asked about its health."""

    TCP = "tcp"
    HTTP = "http"
    GRPC = "grpc"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Active health checking of endpoints.

    Args:
        kind: connect; ``GET``; or ``grpc.health.v1.Health/Check``.
        port: to ask at, 0 for the endpoint's own.
        path, host: of the HTTP request; host "" for the endpoint's address.
        statuses: of a healthy answer, from and to, both included.
        service: of the gRPC request.
        interval_seconds, timeout_seconds: of probes.
        healthy_threshold, unhealthy_threshold: probes in a row that change the state.
    """

    kind: ProbeKind = ProbeKind.TCP
    port: int = 0
    path: str = "/"
    host: str = ""
    statuses: tuple[int, int] = (200, 399)
    service: str = ""
    interval_seconds: float = 10.0
    timeout_seconds: float = 2.0
    healthy_threshold: int = 2
    unhealthy_threshold: int = 3


class EndpointRemoval(StrEnum):
    """What becomes of connections to an endpoint that its Service has no more."""

    KEEP = "keep"  # they go on until one side ends them
    CLOSE = "close"  # both sides get RST


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything about the calls of one Service port, or of a subset of its endpoints.

    Args:
        path: the forwarding path that was asked for.
        observe: what is counted on path ``splice``; elsewhere it says nothing.
        balancing: see there.
        client_quota: enforced where the call starts; None for none.
        server: enforced by the node that runs the endpoint.
        breaker: None for none.
        limits: see there.
        timeouts: see there.
        retries: None for none, except where a route says otherwise.
        health_check: None for none.
        on_endpoint_removed: see there.
    """

    path: Path = Path.AUTO
    observe: Observe = Observe.NOTHING
    balancing: Balancing = field(default_factory=Balancing)
    client_quota: Quota | None = None
    server: ServerLimits = field(default_factory=ServerLimits)
    breaker: Breaker | None = None
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    retries: Retries | None = None
    health_check: HealthCheck | None = None
    on_endpoint_removed: EndpointRemoval = EndpointRemoval.KEEP


@dataclass(frozen=True, slots=True)
class Subset:
    """Some of a port's endpoints, chosen by labels, with a policy of their own.

    Args:
        name: as routes call it.
        addresses: address and port of its endpoints.
        policy: that of the port with what the subset says instead.
    """

    name: str
    addresses: frozenset[tuple[str, int]]
    policy: Policy


DEFAULT_POLICY = Policy()
NO_SUBSETS: Mapping[str, Subset] = {}
