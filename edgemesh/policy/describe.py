"""A policy in few words, for people who follow a call."""

from __future__ import annotations

from collections.abc import Iterator

from edgemesh.model.policies import (
    Balancing,
    EndpointRemoval,
    Locality,
    Path,
    Policy,
    Quota,
    QuotaScope,
    ServerLimits,
)
from edgemesh.model.services import ServicePort


def describe_policy(port: ServicePort) -> str:
    """What is in force at a port: how endpoints are chosen, then whatever is not the default.

    ``least_request prefer_zone, client 100/s burst 20, breaker after 5 errors, 2 retries``.
    """
    return ", ".join((_balancing(port.policy.balancing), *_rest(port.policy), *_routing(port)))


def describe_server(limits: ServerLimits) -> str:
    """What a node lets through to its endpoints: ``500/s burst 50 and 8 at a time``; "" for all."""
    words = []
    if limits.quota is not None:
        words.append(_quota(limits.quota))
    if limits.max_concurrent:
        words.append(f"{limits.max_concurrent} at a time")
    return " and ".join(words)


def _balancing(balancing: Balancing) -> str:
    words: list[str] = [balancing.algorithm]
    if balancing.hash_key is not None:
        words.append(f"by {balancing.hash_key.source} {balancing.hash_key.name}".rstrip())
    if balancing.affinity_seconds:
        words.append(f"affinity {balancing.affinity_seconds} s")
    if balancing.locality is not Locality.ANY:
        words.append(balancing.locality)
    return " ".join(words)


def _rest(policy: Policy) -> Iterator[str]:
    if policy.path is not Path.AUTO:
        yield f"asks for path {policy.path}"
    if policy.client_quota is not None:
        yield f"client {_quota(policy.client_quota)}"
    server = describe_server(policy.server)
    if server:
        yield f"server {server}"
    if policy.breaker is not None:
        yield f"breaker after {policy.breaker.consecutive_errors} errors"
    if policy.limits.max_connections:
        yield f"{policy.limits.max_connections} connections"
    if policy.limits.max_requests:
        yield f"{policy.limits.max_requests} requests"
    if policy.retries is not None:
        yield f"{policy.retries.attempts} retries"
    if policy.timeouts.request:
        yield f"deadline {policy.timeouts.request:g} s"
    if policy.health_check is not None:
        yield f"{policy.health_check.kind} health checks"
    if policy.on_endpoint_removed is EndpointRemoval.CLOSE:
        yield "connections to removed endpoints are closed"


def _routing(port: ServicePort) -> Iterator[str]:
    if port.routes:
        yield f"{len(port.routes)} routes"
    if port.connection_routes:
        yield f"{len(port.connection_routes)} routes of connections"
    if port.subsets:
        yield f"subsets {' '.join(port.subsets)}"


def _quota(quota: Quota) -> str:
    scope = "" if quota.scope is QuotaScope.SERVICE else f" per {quota.scope}"
    return f"{quota.rate:g}/s burst {quota.burst}{scope}"
