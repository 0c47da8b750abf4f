"""Which forwarding path the calls of a Service port take."""

from __future__ import annotations

from edgemesh.model.paths import NOT_LOOKED_AT, AvailablePaths, PathChoice
from edgemesh.model.policies import HashSource, Path, Policy
from edgemesh.model.services import ServicePort, Transport
from edgemesh.policy.bus.reach import all_by_bus, bus_hindrance
from edgemesh.policy.connect.hindrances import connect_hindrance
from edgemesh.policy.observation import asks_to_observe, observation_hindrance

_HTTP = frozenset({"http", "http2", "grpc"})
# How the state of a path begins that can be taken.
AVAILABLE = "available"
_ASKED_FOR = "its policy asks for it"


def choose_path(port: ServicePort, protocol: str, available: AvailablePaths) -> PathChoice:
    """The lightest path that honours the policies of a port and works on this node.

    A policy that asks for a path gets it, unless that cannot honour the rest: then the lightest
    that can.

    Args:
        port: what is called.
        protocol: declared or resolved, "" when it is neither.
        available: what works on this node.
    """
    if asks_to_observe(port) and (not protocol or protocol in _HTTP):
        hindrance = observation_hindrance(port, protocol, available)
        if hindrance:
            return PathChoice(Path.HTTP, f"splice: {hindrance}")
        return PathChoice(Path.SPLICE, _ASKED_FOR)
    if forwarding_path(port, protocol) is Path.HTTP:
        return PathChoice(Path.HTTP, _why_requests(port, protocol))
    if not protocol and _requests_matter(port):
        reason = f"{_why_requests(port, protocol)}, where its first bytes are of HTTP"
        return PathChoice(Path.HTTP, reason)
    asked = port.policy.path
    if asked is Path.RELAY:
        return PathChoice(Path.RELAY, _ASKED_FOR)
    hindrances = []
    if asked is Path.HTTP:
        hindrances.append(f"http: it declares {port.application_protocol or port.transport}")
    if asked is not Path.SPLICE:
        hindrance = (
            connect_hindrance(port)
            or bus_hindrance(port.endpoints, available.by_bus)
            or _missing_for_connect(port, available)
        )
        if not hindrance:
            return _chosen(Path.CONNECT, asked, hindrances)
        hindrances.append(f"connect: {hindrance}")
    hindrance = splice_hindrance(port.transport, available)
    if not hindrance and all_by_bus(port.endpoints, available.by_bus):
        hindrance = bus_hindrance(port.endpoints, available.by_bus)
    if not hindrance:
        return _chosen(Path.SPLICE, asked, hindrances)
    hindrances.append(f"splice: {hindrance}")
    return PathChoice(Path.RELAY, "; ".join(hindrances))


def forwarding_path(
    port: ServicePort, protocol: str, available: AvailablePaths = NOT_LOOKED_AT
) -> Path:
    """What the agent does first with a flow that has reached it: `HTTP`, `SPLICE` or `RELAY`.

    What speaks HTTP is seen request by request, unless its policy asks for less or its
    connections are routed and its requests are not. `SPLICE` is for flows whose requests are
    counted while the kernel moves them, from the first byte on. A flow that is relayed may be
    spliced later: how it behaves decides that.

    Args:
        port: what was called.
        protocol: declared or resolved, "" when it is neither.
        available: what works on this node.
    """
    if protocol not in _HTTP or not _may_see_requests(port):
        return Path.RELAY
    if asks_to_observe(port) and not observation_hindrance(port, protocol, available):
        return Path.SPLICE
    return Path.HTTP


def hello_matters(port: ServicePort) -> bool:
    """Whether what a client says first has to be known before forwarding.

    Only then is it waited for: a server that speaks first loses time by it.
    """
    if any(route.needs_hello for route in port.connection_routes):
        return True
    return not port.application_protocol and _requests_matter(port)


def splice_hindrance(transport: Transport, available: AvailablePaths) -> str:
    """Why bytes cannot pass without the agent's hands, "" when they can."""
    if transport is Transport.UDP:
        return "it is for TCP"
    if not available.sockmap or not available.splice:
        return ""
    return "; ".join(dict.fromkeys((available.sockmap, available.splice)))


def path_states(available: AvailablePaths) -> dict[str, str]:
    """Each path with ``available`` or why it is not, for people."""
    splice = splice_hindrance(Transport.TCP, available) or AVAILABLE
    if splice == AVAILABLE and available.sockmap:
        splice = f"available for large transfers; small messages: {available.sockmap}"
    elif splice == AVAILABLE and available.splice:
        splice = f"available for small messages; large transfers: {available.splice}"
    if not available.sockmap and available.observed:
        splice += f"; requests are not counted: {available.observed}"
    connect = available.connect or AVAILABLE
    if connect == AVAILABLE and available.failures:
        connect += f"; failures are not seen, for breakers: {available.failures}"
    return {
        Path.CONNECT: connect,
        Path.SPLICE: splice,
        Path.RELAY: AVAILABLE,
        Path.HTTP: AVAILABLE,
    }


def _missing_for_connect(port: ServicePort, available: AvailablePaths) -> str:
    """Why this node's kernel cannot balance calls of a port when they connect, "" when it can."""
    if not available.connect and available.failures and port.policy.breaker is not None:
        return f"its breaker sees no failures: {available.failures}"
    return available.connect


def _chosen(path: Path, asked: Path, hindrances: list[str]) -> PathChoice:
    if path is asked:
        return PathChoice(path, _ASKED_FOR)
    return PathChoice(path, "; ".join(hindrances) or "nothing that is asked needs the agent")


def _why_requests(port: ServicePort, protocol: str) -> str:
    if port.policy.path is Path.HTTP:
        return _ASKED_FOR
    if port.routes:
        return "requests are routed"
    if any(map(_sees_requests, _policies(port))):
        return "its policies are about requests"
    return f"it speaks {protocol}"


def _requests_matter(port: ServicePort) -> bool:
    """Whether a connection of HTTP would be treated otherwise than another one."""
    if not _may_see_requests(port):
        return False
    if port.policy.path is Path.HTTP or port.routes or asks_to_observe(port):
        return True
    return any(map(_sees_requests, _policies(port)))


def _may_see_requests(port: ServicePort) -> bool:
    """Whether HTTP is seen request by request."""
    if port.transport is Transport.UDP:
        return False
    match port.policy.path:
        case Path.HTTP:
            return True
        case Path.RELAY:
            return False
        case Path.AUTO:
            return bool(port.routes) or not port.connection_routes
    # Who asks for less may mean connections where policies mean requests as well, but requests
    # that have routes would go astray.
    return bool(port.routes) or asks_to_observe(port)


def _policies(port: ServicePort) -> tuple[Policy, ...]:
    return (port.policy, *(one.policy for one in port.subsets.values()))


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
