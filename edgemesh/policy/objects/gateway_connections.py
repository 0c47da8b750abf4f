"""TLSRoutes and TCPRoutes: the Services that each is about, and its routes of connections there.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#tlsroute and #tcproute
"""

from __future__ import annotations

from edgemesh.model.routes import Backend, ConnectionRoute
from edgemesh.model.services import ServiceName, ServicePort
from edgemesh.policy.objects.alpn import alpn_of
from edgemesh.policy.objects.backends import Neighbours, checked
from edgemesh.policy.objects.gateway_references import (
    backend_names,
    backend_of,
    callers_namespace,
    is_attached,
    nowhere,
    parent_names,
)
from edgemesh.wire.kubernetes.gateway_api.connection_routes import (
    ConnectionRule,
    TCPRoute,
    TLSRoute,
)

_EVERY_NAME = ("*",)


def services_of(route: TLSRoute | TCPRoute) -> frozenset[ServiceName]:
    """The Services that a route is attached to."""
    return parent_names(route.metadata.namespace, route.spec.parent_refs)


def backends_of(route: TLSRoute | TCPRoute) -> frozenset[ServiceName]:
    """The Services that a route may lead to."""
    references = [each for rule in route.spec.rules for each in rule.backend_refs]
    return backend_names(route.metadata.namespace, references)


def connection_routes_of(
    route: TLSRoute | TCPRoute, port: ServicePort, neighbours: Neighbours
) -> tuple[ConnectionRoute, ...]:
    """The routes of an object at a port; none when it is not attached there.

    Args:
        route: the object.
        port: see there.
        neighbours: see there.
    """
    metadata = route.metadata
    if not is_attached(metadata.namespace, route.spec.parent_refs, port):
        return ()
    names: tuple[str, ...] = ()
    alpn: tuple[str, ...] = ()
    if isinstance(route, TLSRoute):
        names = tuple(host.lower() for host in route.spec.hostnames) or _EVERY_NAME
        alpn = alpn_of(metadata)
    kind = type(route).__name__
    return tuple(
        ConnectionRoute(
            f"{kind} {metadata.namespace}/{metadata.name} rule {rule.name or index}",
            _backends(route, rule, neighbours),
            server_names=names,
            alpn=alpn,
            source_namespace=callers_namespace(metadata.namespace, port),
        )
        for index, rule in enumerate(route.spec.rules)
    )


def _backends(
    route: TLSRoute | TCPRoute, rule: ConnectionRule, neighbours: Neighbours
) -> tuple[Backend, ...]:
    """Where a rule leads; the calls of one that leads nowhere are refused."""
    if not rule.backend_refs:
        return (nowhere("the rule names no backend"),)
    kind, namespace = type(route).__name__, route.metadata.namespace
    return tuple(
        checked(backend_of(kind, namespace, each, neighbours), neighbours)
        for each in rule.backend_refs
    )
