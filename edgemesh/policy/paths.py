"""Which forwarding path a flow takes."""

from __future__ import annotations

from edgemesh.model.policies import HashSource, Path, Policy
from edgemesh.model.services import ServicePort

_HTTP = frozenset({"http", "http2", "grpc"})


def forwarding_path(port: ServicePort, protocol: str) -> Path:
    """The lightest path that honours the policies of a port.

    What speaks HTTP is seen request by request, unless its policy asks for less.

    Args:
        port: what was called.
        protocol: declared or resolved, "" when it is neither.
    """
    if protocol in _HTTP and port.policy.path in {Path.AUTO, Path.HTTP}:
        return Path.HTTP
    return Path.RELAY


def protocol_matters(port: ServicePort) -> bool:
    """Whether the protocol of a port that declares none has to be known before forwarding.

    Only then are the first bytes waited for: a server that speaks first loses time by it.
    """
    if port.application_protocol or port.policy.path not in {Path.AUTO, Path.HTTP}:
        return False
    if port.policy.path is Path.HTTP or port.routes:
        return True
    return any(map(_sees_requests, (port.policy, *(one.policy for one in port.subsets.values()))))


def _sees_requests(policy: Policy) -> bool:
    """Whether a policy means something else for requests than for connections."""
    key = policy.balancing.hash_key
    return bool(
        policy.client_quota
        or policy.server.quota
        or policy.server.max_concurrent
        or policy.breaker
        or policy.retries
        or policy.limits.max_requests
        or policy.timeouts.request
        or (key is not None and key.source is not HashSource.SOURCE_ADDRESS)
    )
