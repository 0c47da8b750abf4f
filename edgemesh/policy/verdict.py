"""The decision about one flow: everything that is settled before anything is dialled."""

from __future__ import annotations

from dataclasses import dataclass

from edgemesh.model.flows import FlowFacts, Refusal
from edgemesh.model.paths import NOT_LOOKED_AT, AvailablePaths
from edgemesh.model.policies import (
    DEFAULT_POLICY,
    Balancing,
    HashSource,
    Path,
    Policy,
    QuotaScope,
)
from edgemesh.model.routes import Backend, ConnectionRoute
from edgemesh.model.services import ServicePort, Snapshot, Source, Transport
from edgemesh.model.streams import InboundStream
from edgemesh.policy.paths import forwarding_path
from edgemesh.policy.routing.backends import backend_port, by_weight, pick_backend
from edgemesh.policy.routing.connections import connection_route
from edgemesh.policy.routing.hashing import hash_text
from edgemesh.policy.routing.request import Caller, RequestFacts
from edgemesh.policy.routing.table import route_table
from edgemesh.policy.traffic.calls import Call
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.traffic import Traffic
from edgemesh.policy.traffic.upstream import Upstream

_NOBODY = Call("", ipv6=False, hash_text=None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything that is decided before any dialling.

    Args:
        port: the Service port that was called, None when there is none.
        candidates: the endpoint that is to be tried, and in a preview also those that would
            follow if it failed; empty when refused.
        path: the forwarding path, "" when refused.
        source: which client address the endpoint sees.
        refusal: None when the flow is to be forwarded.
        upstream: where the flow counts, and where another endpoint is found when one fails;
            None when refused.
        call: what is known for that.
        route: the key of the route that led it there, "" when there was none.
    """

    port: ServicePort | None
    candidates: tuple[EndpointState, ...] = ()
    path: str = ""
    source: Source = Source.NODE
    refusal: Refusal | None = None
    upstream: Upstream | None = None
    call: Call = _NOBODY
    route: str = ""

    @property
    def target(self) -> ServicePort | None:
        """The Service port that it goes to: the one that was called, unless a route led away."""
        return self.port if self.upstream is None else self.upstream.port

    @property
    def policy(self) -> Policy:
        """That of where it goes."""
        if self.upstream is not None:
            return self.upstream.policy
        return DEFAULT_POLICY if self.port is None else self.port.policy


def find_port(
    snapshot: Snapshot, transport: Transport, destination: tuple[str, int]
) -> ServicePort | None:
    """The Service port that a destination belongs to.

    By its address, or as an endpoint of this node, or else as a node port.
    """
    if transport is Transport.TCP:
        return (
            snapshot.tcp.get(destination)
            or snapshot.tcp_inbound.get(destination)
            or snapshot.tcp_node_ports.get(destination[1])
        )
    return (
        snapshot.udp.get(destination)
        or snapshot.udp_inbound.get(destination)
        or snapshot.udp_node_ports.get(destination[1])
    )


def decide(
    snapshot: Snapshot,
    facts: FlowFacts,
    traffic: Traffic,
    now: float,
    *,
    listener_port: int,
    available: AvailablePaths = NOT_LOOKED_AT,
    entered: ServicePort | None = None,
) -> Verdict:
    """Decide about one flow that is relayed, or whose requests are counted on the way.

    Args:
        snapshot: what is known about Services.
        facts: what is known about the flow.
        traffic: what policies remember; this call takes a token and a turn, but opens nothing.
        now: monotonic seconds.
        listener_port: our own; a flow that was addressed to it would come back for ever.
        available: what works on this node.
        entered: the port that a stream was let in to, None for a flow that came by itself.
    """
    port = entered or find_port(snapshot, facts.transport, facts.destination)
    if port is None:
        return _unknown(facts, listener_port)
    path = Path.RELAY
    if forwarding_path(port, facts.application_protocol, available) is Path.SPLICE:
        path = Path.SPLICE
    upstream, route = _way(snapshot, facts, traffic, port)
    if upstream is None:
        return Verdict(port, refusal=Refusal.NO_BACKEND, route=route)
    target = upstream.port
    if facts.transport is Transport.TCP:
        if not upstream.may_connect():
            return Verdict(port, refusal=Refusal.OVERFLOW, route=route)
        limited = (port,) if target.key == port.key else (port, target)
        caller = caller_key(snapshot, facts.client[0], facts.stream)
        # Where requests are counted on the way, each of them takes its own token.
        if path is Path.RELAY and any(
            client_quota_wait(traffic, each, caller, now, route=route) for each in limited
        ):
            return Verdict(port, refusal=Refusal.QUOTA, route=route)
    call = _call(facts, upstream.policy.balancing)
    state = upstream.choose_connection(call, now)
    if isinstance(state, Refusal):
        return Verdict(port, refusal=state, route=route)
    return Verdict(port, (state,), path, target.source, None, upstream, call, route)


def preview(
    snapshot: Snapshot,
    facts: FlowFacts,
    traffic: Traffic,
    now: float,
    *,
    listener_port: int,
    attempts: int,
    request: RequestFacts | None = None,
    available: AvailablePaths = NOT_LOOKED_AT,
) -> Verdict:
    """Where a flow or its requests would go now, without taking a token or a turn.

    Args:
        snapshot: as above.
        facts: as above.
        traffic: as above, but nothing changes.
        now: as above.
        listener_port: as above.
        attempts: how many endpoints may be tried, 1 or more.
        request: one that the flow carries, where requests are looked at; None for no certain one.
        available: what works on this node.

    Returns:
        One without an endpoint and without a refusal when the request's route answers by itself.
    """
    port = find_port(snapshot, facts.transport, facts.destination)
    if port is None:
        return _unknown(facts, listener_port)
    protocol = facts.application_protocol or port.application_protocol
    path = forwarding_path(port, protocol, available)
    upstream, route = traffic.upstream(port), ""
    if path is not Path.HTTP:
        request = None
        upstream, route = _way(snapshot, facts, traffic, port)
    elif request is not None and port.routes:
        taken = route_table(port.routes).match(request, _caller(snapshot, facts))
        if taken is None:
            return Verdict(port, refusal=Refusal.NO_ROUTE)
        route = taken.key
        if taken.redirect is not None or taken.direct is not None:
            return Verdict(port, path=path, route=route)
        backend = pick_backend(taken, traffic.random)
        if backend is not None:
            upstream = _upstream(snapshot, traffic, port, backend)
    if upstream is None:
        return Verdict(port, refusal=Refusal.NO_BACKEND, route=route)
    call = _call(facts, upstream.policy.balancing, request)
    states = upstream.preview(call, now, attempts)
    if isinstance(states, Refusal):
        return Verdict(port, refusal=states, route=route)
    return Verdict(port, states, path, upstream.port.source, None, upstream, call, route)


def client_quota_wait(
    traffic: Traffic,
    port: ServicePort,
    caller: str,
    now: float,
    *,
    route: str = "",
) -> float:
    """Take one token for a connection or a datagram of a client.

    Args:
        traffic: where the buckets are.
        port: whose quota it is.
        caller: see `caller_key`.
        now: monotonic seconds.
        route: the key of the one that was taken, "" for none.

    Returns:
        0.0 when it may pass, else the seconds until one might.
    """
    quota = traffic.client_quota(port)
    if quota is None:
        return 0.0
    scope = quota.quota.scope
    if scope is QuotaScope.SOURCE:
        return quota.take(caller, now)
    return quota.take(route if scope is QuotaScope.ROUTE else "", now)


def caller_key(snapshot: Snapshot, client: str, stream: InboundStream | None) -> str:
    """The name under which quotas by source count a client: its workload's, else its address.

    Addresses are each node's own, so of a stream's client the other end's word is taken, and
    without that it is the other end that counts.

    Args:
        snapshot: what is known about Pods.
        client: its address.
        stream: that its call has come by, None for none.
    """
    if stream is not None:
        return stream.workload or stream.from_node
    pod = snapshot.pods.get(client)
    return f"{pod.namespace}/{pod.workload or pod.name}" if pod else client


def _way(
    snapshot: Snapshot, facts: FlowFacts, traffic: Traffic, port: ServicePort
) -> tuple[Upstream | None, str]:
    """Where a flow goes and the key of the route that leads it there, if there is one."""
    route = _route(snapshot, facts, port) if port.connection_routes else None
    if route is None:
        return traffic.upstream(port), ""
    backend = by_weight(route.backends, traffic.random)
    return _upstream(snapshot, traffic, port, backend), route.key


def _upstream(
    snapshot: Snapshot, traffic: Traffic, port: ServicePort, backend: Backend
) -> Upstream | None:
    target = backend_port(backend, port, snapshot)
    return traffic.upstream(target, backend.subset) if target else None


def _route(snapshot: Snapshot, facts: FlowFacts, port: ServicePort) -> ConnectionRoute | None:
    # What a cleartext request names is routed by its routes.
    server_name = facts.server_name if facts.application_protocol == "tls" else ""
    return connection_route(
        port.connection_routes, server_name, facts.alpn, _caller(snapshot, facts)
    )


def _caller(snapshot: Snapshot, facts: FlowFacts) -> Caller | None:
    if facts.stream is not None:
        return None
    pod = snapshot.pods.get(facts.client[0])
    return Caller(pod.namespace, pod.labels) if pod else None


def _unknown(facts: FlowFacts, listener_port: int) -> Verdict:
    itself = facts.destination[1] == listener_port
    return Verdict(None, refusal=Refusal.SELF_DESTINATION if itself else Refusal.NO_SERVICE)


def _call(facts: FlowFacts, balancing: Balancing, request: RequestFacts | None = None) -> Call:
    client = facts.client[0]
    hash_key = balancing.hash_key
    if request is not None:
        text = hash_text(hash_key, request, client)
    else:
        # A flow has no headers, cookies or query parameters.
        by_address = hash_key is None or hash_key.source is HashSource.SOURCE_ADDRESS
        text = client if by_address else None
    return Call(client, ":" in facts.destination[0], text)
