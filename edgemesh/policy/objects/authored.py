"""Everything that policy objects say about one Service, laid on each other.

Order: the agent's defaults < Service < DestinationRule < TrafficPolicy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

from edgemesh.model.policies import NO_SUBSETS, Policy, Subset
from edgemesh.model.routes import ConnectionRoute, Route
from edgemesh.model.services import Endpoint, ServicePort, Transport
from edgemesh.policy.objects import (
    gateway_connections,
    grpc_routes,
    http_routes,
    virtual_services,
)
from edgemesh.policy.objects.backends import Neighbours
from edgemesh.policy.objects.destination_rules import subsets_of, with_rule
from edgemesh.policy.objects.traffic_policies import in_force, with_traffic_policy
from edgemesh.policy.routing.connections import ConnectionRouteObject, order_connection_routes
from edgemesh.policy.routing.precedence import RouteObject, order_routes
from edgemesh.wire.kubernetes.gateway_api.connection_routes import TCPRoute, TLSRoute
from edgemesh.wire.kubernetes.gateway_api.grpc_route import GRPCRoute
from edgemesh.wire.kubernetes.gateway_api.http_route import HTTPRoute
from edgemesh.wire.kubernetes.istio.destination_rule import DestinationRule, RuleSubset
from edgemesh.wire.kubernetes.istio.virtual_service import VirtualService
from edgemesh.wire.kubernetes.traffic_policy import TrafficPolicy

LabelsOf = Callable[[str], Mapping[str, str]]
RequestView = VirtualService | HTTPRoute | GRPCRoute
ConnectionView = VirtualService | TLSRoute | TCPRoute
RouteT = TypeVar("RouteT", Route, ConnectionRoute)

_HTTP_PROTOCOLS = frozenset({"", "http", "http2", "grpc"})
_TLS_PROTOCOLS = frozenset({"", "tls"})
_OPAQUE_PROTOCOLS = frozenset({"", "tls", "tcp"})


class Authored(NamedTuple):
    """What people wrote about one Service.

    Args:
        rule: the DestinationRule that counts.
        policies: all TrafficPolicies that name it.
        gateway_requests: routes of requests that are attached to it.
        virtual_services: those that are about it.
        gateway_connections: TLSRoutes and TCPRoutes that are attached to it.
    """

    rule: DestinationRule | None = None
    policies: tuple[TrafficPolicy, ...] = ()
    gateway_requests: tuple[HTTPRoute | GRPCRoute, ...] = ()
    virtual_services: tuple[VirtualService, ...] = ()
    gateway_connections: tuple[TLSRoute | TCPRoute, ...] = ()


NOTHING_AUTHORED = Authored()


def policy_for(port: ServicePort, said: Authored, subset: RuleSubset | None = None) -> Policy:
    """The policy of a port, or of one subset of its endpoints.

    Args:
        port: with the policy that the Service itself asks for.
        said: about its Service.
        subset: of the rule; None for all endpoints.
    """
    policy = port.policy
    if said.rule is not None:
        policy = with_rule(policy, said.rule, port.port, subset)
    for each in in_force(said.policies, port):
        policy = with_traffic_policy(policy, each.spec)
    return policy


def subsets_for(
    port: ServicePort, endpoints: tuple[Endpoint, ...], said: Authored, labels_of: LabelsOf
) -> Mapping[str, Subset]:
    """The subsets of a port by name; those without an endpoint, too.

    Args:
        port: as above.
        endpoints: all of it.
        said: about its Service.
        labels_of: the labels of a Pod, by ``namespace/name``.
    """
    if said.rule is None or not said.rule.spec.subsets:
        return NO_SUBSETS
    return {
        name: Subset(name, _addresses(subset, endpoints, labels_of), policy_for(port, said, subset))
        for name, subset in subsets_of(said.rule).items()
    }


def routes_for(port: ServicePort, said: Authored, neighbours: Neighbours) -> tuple[Route, ...]:
    """The routes of a port in the order in which they are tried; none where nobody wrote any.

    Where only hosts that are not the Service's own have routes, requests for every other host
    go to the Service as if there were none.

    Args:
        port: with its policy.
        said: about its Service.
        neighbours: see there.
    """
    if not (said.gateway_requests or said.virtual_services):
        return ()
    objects = [
        *_route_objects(said.gateway_requests, port, neighbours),
        *_route_objects(said.virtual_services, port, neighbours),
    ]
    ordered = order_routes(objects)
    name = (port.namespace, port.service)
    shared = not any(virtual_services.is_about(each, name) for each in said.virtual_services)
    if ordered and shared and not any(not each.keeps_order for each in objects):
        return (*ordered, Route(f"Service {port.namespace}/{port.service}"))
    return ordered


def connection_routes_for(
    port: ServicePort, said: Authored, neighbours: Neighbours
) -> tuple[ConnectionRoute, ...]:
    """The routes of a port's connections in the order in which they are tried.

    Args:
        port: as above.
        said: about its Service.
        neighbours: see there.
    """
    return order_connection_routes(
        ConnectionRouteObject(
            _usable(connection_routes_of(view, port, neighbours), port),
            view.metadata.creation_timestamp or "",
            f"{view.metadata.namespace}/{view.metadata.name}",
        )
        for view in (*said.virtual_services, *said.gateway_connections)
    )


def request_routes_of(
    view: RequestView, port: ServicePort, neighbours: Neighbours
) -> tuple[Route, ...]:
    """The routes of requests that an object has at a port, in its order."""
    if isinstance(view, VirtualService):
        return virtual_services.routes_of(view, port, neighbours)
    if isinstance(view, GRPCRoute):
        return grpc_routes.routes_of(view, port, neighbours)
    return http_routes.routes_of(view, port, neighbours)


def connection_routes_of(
    view: ConnectionView, port: ServicePort, neighbours: Neighbours
) -> tuple[ConnectionRoute, ...]:
    """The routes of connections that an object has at a port, in its order."""
    if isinstance(view, VirtualService):
        return virtual_services.connection_routes_of(view, port, neighbours)
    return gateway_connections.connection_routes_of(view, port, neighbours)


def is_usable(route: Route | ConnectionRoute, port: ServicePort) -> bool:
    """Whether what a port declares leaves room for what a route is about.

    Connections are routed by name only where TLS may be spoken: elsewhere nobody waits for it.
    """
    if port.transport is not Transport.TCP:
        return False
    if isinstance(route, Route):
        protocols = _HTTP_PROTOCOLS
    else:
        protocols = _TLS_PROTOCOLS if route.needs_hello else _OPAQUE_PROTOCOLS
    return port.application_protocol in protocols


def _usable(routes: Iterable[RouteT], port: ServicePort) -> tuple[RouteT, ...]:
    return tuple(route for route in routes if is_usable(route, port))


def _route_objects(
    views: Iterable[RequestView],
    port: ServicePort,
    neighbours: Neighbours,
) -> Iterator[RouteObject]:
    """The objects that have routes at a port."""
    for view in views:
        routes = _usable(request_routes_of(view, port, neighbours), port)
        if routes:
            metadata = view.metadata
            yield RouteObject(
                routes,
                metadata.creation_timestamp or "",
                f"{metadata.namespace}/{metadata.name}",
                keeps_order=isinstance(view, VirtualService),
            )


def _addresses(
    subset: RuleSubset, endpoints: tuple[Endpoint, ...], labels_of: LabelsOf
) -> frozenset[tuple[str, int]]:
    return frozenset(
        (endpoint.address, endpoint.port)
        for endpoint in endpoints
        if subset.labels.items() <= labels_of(endpoint.pod).items()
    )
