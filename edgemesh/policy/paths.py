"""Which forwarding path a flow takes."""

from __future__ import annotations

from edgemesh.model.policies import HashSource, Path, Policy
from edgemesh.model.services import ServicePort

_HTTP = frozenset({"http", "http2", "grpc"})


def forwarding_path(port: ServicePort, protocol: str) -> Path:
    """The lightest path that honours the policies of a port.

    What speaks HTTP is seen request by request, unless its policy asks for less or its
    connections are routed and its requests are not.

    Args:
        port: what was called.
        protocol: declared or resolved, "" when it is neither.
    """
    return Path.HTTP if protocol in _HTTP and _may_see_requests(port) else Path.RELAY


def hello_matters(port: ServicePort) -> bool:
    """Whether what a client says first has to be known before forwarding.

    Only then is it waited for: a server that speaks first loses time by it.
    """
    if any(route.needs_hello for route in port.connection_routes):
        return True
    if port.application_protocol or not _may_see_requests(port):
        return False
    if port.policy.path is Path.HTTP or port.routes:
        return True
    return any(map(_sees_requests, (port.policy, *(one.policy for one in port.subsets.values()))))


def _may_see_requests(port: ServicePort) -> bool:
    """Whether HTTP is seen request by request."""
    if port.policy.path is Path.AUTO:
        return bool(port.routes) or not port.connection_routes
    return port.policy.path is Path.HTTP


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
