"""TrafficPolicies: which Service port each is about, and what it says on top of the others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from edgemesh.model.policies import (
    Balance,
    Balancing,
    Breaker,
    EndpointRemoval,
    HashKey,
    HashSource,
    HealthCheck,
    Policy,
    ProbeKind,
    Quota,
    Retries,
    ServerLimits,
)
from edgemesh.model.services import ServiceName, ServicePort
from edgemesh.policy.objects.overlay import overlay
from edgemesh.wire.kubernetes.traffic_policy import (
    BalancingSpec,
    CircuitBreakerSpec,
    ConcurrencySpec,
    ConnectionsSpec,
    HashSpec,
    HealthCheckSpec,
    QuotaSpec,
    QuotasSpec,
    RetriesSpec,
    StatusRange,
    TargetReference,
    TrafficPolicy,
    TrafficPolicySpec,
)

_DEFAULT_BREAKER = Breaker()
_HASHING = frozenset({Balance.RING_HASH, Balance.MAGLEV})


def services_of(policy: TrafficPolicy) -> frozenset[ServiceName]:
    """The Service that a policy is about."""
    return frozenset({(policy.metadata.namespace, policy.spec.target_ref.name)})


def concerns(target: TargetReference, port: ServicePort) -> bool:
    """Whether a port of the Service that a target names is meant."""
    if target.section_name is not None:
        return target.section_name == port.name
    return target.port in (None, port.port)


def in_force(policies: Iterable[TrafficPolicy], port: ServicePort) -> Sequence[TrafficPolicy]:
    """Those that count for a port, in the order in which they are laid on each other.

    One for the whole Service and over it one for the port. Of several for the same, the oldest
    counts, then the first by name (Gateway API, GEP-713, conflict resolution).

    Args:
        policies: about the Service.
        port: of the Service.
    """
    ranked = sorted(
        (policy for policy in policies if concerns(policy.spec.target_ref, port)), key=_seniority
    )
    whole = [policy for policy in ranked if not _names_port(policy)]
    own = [policy for policy in ranked if _names_port(policy)]
    return (*whole[:1], *own[:1])


def with_traffic_policy(base: Policy, spec: TrafficPolicySpec) -> Policy:
    """A policy with what a TrafficPolicy says instead.

    Args:
        base: what Service and DestinationRule say.
        spec: the TrafficPolicy's.
    """
    qps = spec.qps or QuotasSpec()
    breaking = spec.circuit_breaker
    return Policy(
        path=spec.path or base.path,
        observe=spec.observe or base.observe,
        balancing=_balancing(base.balancing, spec.load_balancing),
        client_quota=_quota(qps.client) if qps.client else base.client_quota,
        server=_server(base.server, qps.server, spec.concurrency),
        breaker=_breaker(base.breaker, breaking) if breaking else base.breaker,
        limits=overlay(base.limits, breaking) if breaking else base.limits,
        timeouts=overlay(base.timeouts, spec.timeouts) if spec.timeouts else base.timeouts,
        retries=_retries(base.retries, spec.retries) if spec.retries else base.retries,
        health_check=_health_check(spec.health_check) if spec.health_check else base.health_check,
        on_endpoint_removed=_on_endpoint_removed(spec.connections) or base.on_endpoint_removed,
    )


def _balancing(base: Balancing, spec: BalancingSpec | None) -> Balancing:
    if spec is None:
        return base
    balancing = overlay(base, spec)
    if spec.hashed is not None:
        balancing = _with_hash(balancing, spec.hashed, spec.algorithm)
    if spec.affinity is not None:
        balancing = replace(balancing, affinity_seconds=math.ceil(spec.affinity))
    return balancing


def _with_hash(base: Balancing, hashed: HashSpec, algorithm: Balance | None) -> Balancing:
    """Who says what is hashed wants it hashed, and no affinity that lies below."""
    hashing = base.algorithm if base.algorithm in _HASHING else Balance.RING_HASH
    return replace(
        base,
        algorithm=algorithm or hashing,
        hash_key=_hash_key(hashed),
        affinity_seconds=0,
    )


def _hash_key(spec: HashSpec) -> HashKey:
    if spec.header is not None:
        return HashKey(HashSource.HEADER, spec.header.lower())
    if spec.cookie is not None:
        ttl = spec.cookie.ttl
        return HashKey(
            HashSource.COOKIE,
            spec.cookie.name,
            cookie_ttl_seconds=None if ttl is None else float(ttl),
            cookie_path=spec.cookie.path,
        )
    if spec.query is not None:
        return HashKey(HashSource.QUERY, spec.query)
    return HashKey(HashSource.SOURCE_ADDRESS)


def _quota(spec: QuotaSpec) -> Quota:
    burst = math.ceil(spec.rate) if spec.burst is None else spec.burst
    return Quota(spec.rate, burst, spec.scope)


def _server(
    base: ServerLimits, quota: QuotaSpec | None, concurrency: ConcurrencySpec | None
) -> ServerLimits:
    limits = replace(base, quota=_quota(quota)) if quota else base
    return overlay(limits, concurrency) if concurrency else limits


def _breaker(base: Breaker | None, spec: CircuitBreakerSpec) -> Breaker | None:
    """Limits alone, which stand in the same place, ask for no ejections."""
    asked = overlay(_DEFAULT_BREAKER, spec) is not _DEFAULT_BREAKER
    return overlay(base or _DEFAULT_BREAKER, spec) if asked else base


def _retries(base: Retries | None, spec: RetriesSpec) -> Retries:
    retries = overlay(base or Retries(), spec)
    return replace(
        retries,
        on=frozenset(retries.on),
        statuses=frozenset(retries.statuses),
        grpc_statuses=frozenset(retries.grpc_statuses),
    )


def _health_check(spec: HealthCheckSpec) -> HealthCheck:
    check = overlay(HealthCheck(), spec)
    if spec.http is not None:
        check = overlay(replace(check, kind=ProbeKind.HTTP), spec.http)
        expected = spec.http.expected
        return replace(check, statuses=_in_order(expected)) if expected else check
    if spec.grpc is not None:
        return overlay(replace(check, kind=ProbeKind.GRPC), spec.grpc)
    return check


def _on_endpoint_removed(spec: ConnectionsSpec | None) -> EndpointRemoval | None:
    return None if spec is None else spec.on_endpoint_removed


def _in_order(expected: StatusRange) -> tuple[int, int]:
    return min(expected.first, expected.last), max(expected.first, expected.last)


def _names_port(policy: TrafficPolicy) -> bool:
    target = policy.spec.target_ref
    return target.port is not None or target.section_name is not None


def _seniority(policy: TrafficPolicy) -> tuple[str, str]:
    metadata = policy.metadata
    return metadata.creation_timestamp or "", metadata.name
