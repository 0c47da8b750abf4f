"""Requests that are counted while the kernel moves their bytes, and what keeps them from it.

The kernel sees where requests and responses begin and end. It chooses nothing for a request: all
of a connection go where the connection goes.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgemesh.model.paths import AvailablePaths
from edgemesh.model.policies import HashSource, Observe, Path, Policy, QuotaScope
from edgemesh.model.services import ServicePort, Transport
from edgemesh.policy.bus.reach import bus_hindrance


def asks_to_observe(port: ServicePort) -> bool:
    """Whether a port's policy wants its requests counted on the way."""
    policy = port.policy
    asked = policy.path is Path.SPLICE and policy.observe is Observe.HTTP
    return asked and port.transport is Transport.TCP


def observation_hindrance(port: ServicePort, protocol: str, available: AvailablePaths) -> str:
    """Why requests of a port that asks for it cannot be counted on the way; "" when they can.

    Args:
        port: what is called.
        protocol: declared or resolved, one of HTTP; "" when it is neither.
        available: what works on this node.
    """
    return next(_hindrances(port, protocol, available), "")


def _hindrances(port: ServicePort, protocol: str, available: AvailablePaths) -> Iterator[str]:
    if protocol not in {"", "http"}:
        yield f"it speaks {protocol}"
    if port.routes:
        yield "requests are routed"
    if port.connection_routes:
        yield "connections are routed"
    if port.subsets:
        yield "it has subsets"
    yield from _policy_hindrances(port.policy)
    # Where it is known only when an endpoint is chosen whether the kernel can, it is not asked.
    yield from filter(None, (bus_hindrance(port.endpoints, available.by_bus),))
    yield from filter(None, (available.sockmap, available.observed))


def _policy_hindrances(policy: Policy) -> Iterator[str]:
    if policy.server.quota is not None or policy.server.max_concurrent:
        yield "what goes to the endpoints is limited"
    if policy.client_quota is not None and policy.client_quota.scope is not QuotaScope.SERVICE:
        yield f"the quota is by {policy.client_quota.scope}"
    if policy.breaker is not None:
        yield "the breaker needs every answer"
    if policy.retries is not None:
        yield "requests are repeated"
    if policy.timeouts.request:
        yield "requests have a deadline"
    limits = policy.limits
    if limits.max_requests or limits.max_pending or limits.max_requests_per_connection:
        yield "open requests are limited"
    key = policy.balancing.hash_key
    if key is not None and key.source is not HashSource.SOURCE_ADDRESS:
        yield "requests are balanced by what they say"
