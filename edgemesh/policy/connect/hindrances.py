"""What keeps the calls of a Service port from being balanced when they connect."""

from __future__ import annotations

from collections.abc import Iterator

from edgemesh.model.policies import Balance, Policy, QuotaScope, ServerLimits
from edgemesh.model.services import ServicePort, Transport

# Those that the kernel's programs know.
_BALANCED = frozenset({Balance.ROUND_ROBIN, Balance.RANDOM})


def connect_hindrance(port: ServicePort) -> str:
    """Why nobody but the agent can honour what is asked of a port; "" when the kernel can.

    What policies say of requests is none, for connections have nothing of it.

    Args:
        port: what is called.
    """
    return next(_hindrances(port), "")


def _hindrances(port: ServicePort) -> Iterator[str]:
    if port.inbound:
        yield "the endpoint is chosen already"
    if port.routes:
        yield "requests are routed"
    if port.connection_routes:
        yield "connections are routed"
    if _limits_servers(port.policy.server):
        yield "what goes to the endpoints is limited"
    yield from _quota_hindrances(port.policy, port.transport)
    yield from _policy_hindrances(port.policy)
    if port.policy.breaker is not None and port.transport is Transport.UDP:
        # The kernel does not see whether datagrams are answered.
        yield "the breaker needs answers to datagrams"


def _limits_servers(limits: ServerLimits) -> bool:
    return limits.quota is not None or limits.max_concurrent > 0


def _quota_hindrances(policy: Policy, transport: Transport) -> Iterator[str]:
    quota = policy.client_quota
    if quota is None:
        return
    if quota.scope is not QuotaScope.SERVICE:
        yield f"the quota is by {quota.scope}"
    if transport is Transport.UDP:
        # A socket that is connected is looked at once, whatever it sends.
        yield "the quota counts datagrams"


def _policy_hindrances(policy: Policy) -> Iterator[str]:
    balancing = policy.balancing
    if balancing.algorithm not in _BALANCED:
        yield f"endpoints are chosen by {balancing.algorithm}"
    if policy.breaker is not None and policy.breaker.success_rate_request_volume:
        # The kernel tells the agent of failures, and of a success only if it follows some.
        yield "success rates need every call"
    if policy.timeouts.connect is not None:
        yield "connecting has a deadline"
    if policy.timeouts.idle:
        yield "silence has a deadline"
