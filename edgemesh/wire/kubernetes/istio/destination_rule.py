"""DestinationRule: how calls to a host are treated once they are routed there.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from edgemesh.wire.kubernetes.fields import Count, Port
from edgemesh.wire.kubernetes.parsed import Duration, Interval
from edgemesh.wire.kubernetes.quantities import (
    CookieName,
    CookiePath,
    HeaderName,
    Percent,
    RingSize,
)
from edgemesh.wire.kubernetes.tolerant import EXACT, PolicyObject, PolicyView

Host = Annotated[str, Meta(min_length=1, max_length=253, description="the name of a host")]


class HttpCookie(PolicyView, frozen=True, kw_only=True):
    """The cookie that is hashed; a client without it is given one that lives ``ttl``."""

    name: CookieName
    path: CookiePath = "/"
    ttl: Duration


class RingHash(PolicyView, frozen=True, kw_only=True):
    """Hashing onto a ring (Ketama)."""

    minimum_ring_size: RingSize = 1024


class Maglev(PolicyView, frozen=True, kw_only=True):
    """Hashing by a look-up table."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"tableSize"})


class ConsistentHash(PolicyView, frozen=True, kw_only=True):
    """What is hashed, and how; the ring unless Maglev is asked for."""

    one_of: ClassVar[tuple[str, ...]] = (
        "http_header_name",
        "http_cookie",
        "http_query_parameter_name",
        "use_source_ip",
    )

    http_header_name: HeaderName | None = None
    http_cookie: HttpCookie | None = None
    http_query_parameter_name: str | None = None
    use_source_ip: bool | None = None
    ring_hash: RingHash | None = None
    maglev: Maglev | None = None
    minimum_ring_size: RingSize | None = None


class LocalitySetting(PolicyView, frozen=True, kw_only=True):
    """Nearby endpoints first; ``failover_priority`` names the labels that say what is near."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"distribute", "failover"})

    enabled: bool = True
    failover_priority: tuple[
        Literal["kubernetes.io/hostname", "topology.kubernetes.io/zone"], ...
    ] = ()


class Warmup(PolicyView, frozen=True, kw_only=True):
    """A new endpoint's share grows to its full over this time."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"minimumPercent", "aggression"})

    duration: Duration


class LoadBalancer(PolicyView, frozen=True, kw_only=True):
    """How an endpoint is chosen."""

    one_of: ClassVar[tuple[str, ...]] = ("simple", "consistent_hash")
    unsupported: ClassVar[frozenset[str]] = frozenset({"localityLbSettings"})

    simple: (
        Literal["UNSPECIFIED", "LEAST_CONN", "LEAST_REQUEST", "RANDOM", "ROUND_ROBIN"] | None
    ) = None
    consistent_hash: ConsistentHash | None = None
    locality_lb_setting: LocalitySetting | None = None
    warmup: Warmup | None = None
    warmup_duration_secs: Duration | None = None


class TcpSettings(PolicyView, frozen=True, kw_only=True):
    """Connections of every protocol."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"maxConnectionDuration", "tcpKeepalive"})

    max_connections: Count | None = None
    connect_timeout: Duration | None = None
    idle_timeout: Duration | None = None


class HttpSettings(PolicyView, frozen=True, kw_only=True):
    """Requests; named as `edgemesh.model.policies.Limits` has them."""

    unsupported: ClassVar[frozenset[str]] = frozenset(
        {"h2UpgradePolicy", "useClientProtocol", "maxConcurrentStreams"}
    )

    max_pending: Count | None = field(name="http1MaxPendingRequests", default=None)
    max_requests: Count | None = field(name="http2MaxRequests", default=None)
    max_requests_per_connection: Count | None = None
    max_retries: Count | None = None
    idle_timeout: Duration | None = None


class ConnectionPool(PolicyView, frozen=True, kw_only=True):
    """How much may be open, and for how long."""

    tcp: TcpSettings | None = None
    http: HttpSettings | None = None


class OutlierDetection(PolicyView, frozen=True, kw_only=True):
    """When an endpoint is taken out; named as `edgemesh.model.policies.Breaker` has them.

    ``gateway_errors`` is the deprecated name of ``consecutive_gateway_errors``.
    """

    unsupported: ClassVar[frozenset[str]] = frozenset(
        {"splitExternalLocalOriginErrors", "consecutiveLocalOriginFailures"}
    )

    consecutive_errors: Count | None = field(name="consecutive5xxErrors", default=None)
    consecutive_gateway_errors: Count | None = None
    gateway_errors: Count | None = field(name="consecutiveErrors", default=None)
    interval_seconds: Interval | None = field(name="interval", default=None)
    base_ejection_seconds: Interval | None = field(name="baseEjectionTime", default=None)
    max_ejection_percent: Percent | None = None
    min_health_percent: Percent = 0


class ClientTls(PolicyView, frozen=True, kw_only=True):
    """TLS towards the endpoints: bytes go through as the client sends them, which is DISABLE."""

    mode: Literal["DISABLE"]


class PortSelector(PolicyView, frozen=True, kw_only=True):
    """A port by its number."""

    number: Port


class PortSettings(PolicyView, frozen=True, kw_only=True):
    """What is said about one port or, in `TrafficSettings`, about all of them."""

    load_balancer: LoadBalancer | None = None
    connection_pool: ConnectionPool | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTls | None = None


class PortTrafficSettings(PortSettings, frozen=True, kw_only=True):
    """``trafficPolicy.portLevelSettings[]``."""

    port: PortSelector


class TrafficSettings(PortSettings, frozen=True, kw_only=True):
    """``trafficPolicy`` of a rule or of one of its subsets."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"tunnel", "proxyProtocol", "retryBudget"})

    port_level_settings: tuple[PortTrafficSettings, ...] = ()


class RuleSubset(PolicyView, frozen=True, kw_only=True):
    """Endpoints whose Pods have these labels; a subset without labels is all of them."""

    name: Annotated[str, Meta(min_length=1, max_length=253, description="a name")]
    labels: Annotated[dict[str, str], EXACT] = field(default_factory=dict)
    traffic_policy: TrafficSettings | None = None


class DestinationRuleSpec(PolicyView, frozen=True, kw_only=True):
    """``spec`` of a DestinationRule."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"exportTo", "workloadSelector"})

    host: Host
    traffic_policy: TrafficSettings | None = None
    subsets: tuple[RuleSubset, ...] = ()


class DestinationRule(PolicyObject, frozen=True, kw_only=True):
    """A DestinationRule."""

    spec: DestinationRuleSpec
