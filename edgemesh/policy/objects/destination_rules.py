"""DestinationRules: which Service a rule is about, and what it says about a port or a subset.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/ and, for what
overrides what, ``MergeTrafficPolicy`` of Istio's pilot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from edgemesh.model.policies import (
    Balance,
    Balancing,
    Breaker,
    HashKey,
    HashSource,
    Limits,
    Locality,
    Policy,
    Timeouts,
)
from edgemesh.model.services import ServiceName
from edgemesh.policy.objects.overlay import overlay
from edgemesh.wire.kubernetes.istio.destination_rule import (
    ConnectionPool,
    ConsistentHash,
    DestinationRule,
    LoadBalancer,
    LocalitySetting,
    OutlierDetection,
    PortSettings,
    RuleSubset,
    TrafficSettings,
)

_BALANCES = {
    "RANDOM": Balance.RANDOM,
    "ROUND_ROBIN": Balance.ROUND_ROBIN,
    "LEAST_REQUEST": Balance.LEAST_REQUEST,
    "LEAST_CONN": Balance.LEAST_REQUEST,
}
# What Istio and, for what Istio leaves open, Envoy say.
_OUTLIER_DEFAULTS = Breaker(
    consecutive_errors=5,
    interval_seconds=10.0,
    base_ejection_seconds=30.0,
    max_ejection_seconds=300.0,
    max_ejection_percent=10,
)


def named_service(host: str, namespace: str) -> str:
    """The Service of this namespace that a host names, "" when it names none.

    Istio lets a rule also speak about other namespaces, for calls from its own; we decide
    for all callers at once, so a rule counts only where it and the Service live.

    Args:
        host: ``web``, ``web.default``, ``web.default.svc`` or ``web.default.svc.`` and any
            domain.
        namespace: of the rule.
    """
    service, *rest = host.split(".")
    fits = rest[:2] == [namespace, "svc"][: len(rest)]
    return service if fits else ""


def services_of(rule: DestinationRule) -> frozenset[ServiceName]:
    """The Services that a rule may be about: by its own name, and by its host."""
    namespace = rule.metadata.namespace
    names = {rule.metadata.name, named_service(rule.spec.host, namespace)}
    return frozenset((namespace, name) for name in names if name)


def rule_for(service: str, rules: Iterable[DestinationRule]) -> DestinationRule | None:
    """The rule that counts for a Service, None when there is none.

    The name goes first: EdgeMesh's own examples have rules that are named as the Service and
    whose ``host`` is something else. Then the first by name.

    Args:
        service: its name.
        rules: those that may be about it.
    """
    names = {rule.metadata.name: rule for rule in rules}
    return names.get(service) or (names[min(names)] if names else None)


def subsets_of(rule: DestinationRule) -> Mapping[str, RuleSubset]:
    """The subsets of a rule by name; of several with one name the first counts."""
    found: dict[str, RuleSubset] = {}
    for subset in rule.spec.subsets:
        found.setdefault(subset.name, subset)
    return found


def with_rule(
    base: Policy, rule: DestinationRule, port: int, subset: RuleSubset | None = None
) -> Policy:
    """A policy with what a rule says about a port instead.

    A subset replaces what the rule says, block by block (``loadBalancer``, ``connectionPool``,
    ``outlierDetection``); where either speaks about the port alone, nothing else counts.

    Args:
        base: what the Service says.
        rule: the rule.
        port: its number.
        subset: of the rule, None for all endpoints.
    """
    settings = _for_port(PortSettings(), rule.spec.traffic_policy, port)
    if subset is not None:
        settings = _for_port(settings, subset.traffic_policy, port)
    outlier = settings.outlier_detection
    return replace(
        base,
        balancing=_balancing(base.balancing, settings),
        breaker=_breaker(outlier) if outlier else base.breaker,
        limits=_limits(base.limits, settings.connection_pool),
        timeouts=_timeouts(base.timeouts, settings.connection_pool),
    )


def _for_port(below: PortSettings, settings: TrafficSettings | None, port: int) -> PortSettings:
    if settings is None:
        return below
    for own in settings.port_level_settings:
        if own.port.number == port:
            return own
    return PortSettings(
        load_balancer=settings.load_balancer or below.load_balancer,
        connection_pool=settings.connection_pool or below.connection_pool,
        outlier_detection=settings.outlier_detection or below.outlier_detection,
    )


def _balancing(base: Balancing, settings: PortSettings) -> Balancing:
    balancing = base
    if settings.load_balancer is not None:
        balancing = _with_load_balancer(base, settings.load_balancer)
    outlier = settings.outlier_detection
    if outlier is not None:
        balancing = replace(balancing, panic_percent=outlier.min_health_percent)
    return balancing


def _with_load_balancer(base: Balancing, settings: LoadBalancer) -> Balancing:
    algorithm = _BALANCES.get(settings.simple or "", base.algorithm)
    warmup = settings.warmup.duration if settings.warmup else settings.warmup_duration_secs
    locality = settings.locality_lb_setting
    balancing = replace(
        base,
        algorithm=algorithm,
        slow_start_seconds=base.slow_start_seconds if warmup is None else float(warmup),
        locality=_locality(locality) if locality else base.locality,
    )
    hashing = settings.consistent_hash
    return _with_hash(balancing, hashing) if hashing else balancing


def _with_hash(base: Balancing, hashing: ConsistentHash) -> Balancing:
    """What is hashed says where a call belongs, so the Service's own affinity no longer counts."""
    maglev = hashing.maglev is not None and hashing.ring_hash is None
    size = hashing.minimum_ring_size or base.ring_size
    return replace(
        base,
        algorithm=Balance.MAGLEV if maglev else Balance.RING_HASH,
        hash_key=_hash_key(hashing),
        ring_size=hashing.ring_hash.minimum_ring_size if hashing.ring_hash else size,
        affinity_seconds=0,
    )


def _hash_key(hashing: ConsistentHash) -> HashKey:
    if hashing.http_header_name is not None:
        return HashKey(HashSource.HEADER, hashing.http_header_name.lower())
    cookie = hashing.http_cookie
    if cookie is not None:
        return HashKey(
            HashSource.COOKIE,
            cookie.name,
            cookie_ttl_seconds=float(cookie.ttl),
            cookie_path=cookie.path,
        )
    if hashing.http_query_parameter_name is not None:
        return HashKey(HashSource.QUERY, hashing.http_query_parameter_name)
    return HashKey(HashSource.SOURCE_ADDRESS)


def _locality(setting: LocalitySetting) -> Locality:
    if not setting.enabled:
        return Locality.ANY
    if "kubernetes.io/hostname" in setting.failover_priority:
        return Locality.PREFER_NODE
    return Locality.PREFER_ZONE


def _breaker(outlier: OutlierDetection) -> Breaker:
    breaker = overlay(_OUTLIER_DEFAULTS, outlier)
    if outlier.gateway_errors is not None and outlier.consecutive_gateway_errors is None:
        return replace(breaker, consecutive_gateway_errors=outlier.gateway_errors)
    return breaker


def _limits(base: Limits, pool: ConnectionPool | None) -> Limits:
    limits = base
    if pool is not None and pool.tcp is not None:
        limits = overlay(limits, pool.tcp)
    if pool is not None and pool.http is not None:
        limits = overlay(limits, pool.http)
    return limits


def _timeouts(base: Timeouts, pool: ConnectionPool | None) -> Timeouts:
    """Where both speak about idleness, HTTP's word counts: it is about requests."""
    if pool is None:
        return base
    timeouts = base
    if pool.tcp is not None and pool.tcp.connect_timeout is not None:
        timeouts = replace(timeouts, connect=float(pool.tcp.connect_timeout))
    for settings in (pool.tcp, pool.http):
        if settings is not None and settings.idle_timeout is not None:
            timeouts = replace(timeouts, idle=float(settings.idle_timeout))
    return timeouts
