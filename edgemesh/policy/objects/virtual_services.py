"""VirtualServices: which Service ports each is about, and the routes that it is there.

Istio routes by the request's host, whatever address was called; edgemesh by the Service that
was called. So a VirtualService whose host names a Service is about that Service, for every host;
one for another host, such as ``shop.example.org``, is about the Services that it leads to, for
requests that carry that host and for TLS connections that name it.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from edgemesh.model.policies import Retries
from edgemesh.model.routes import (
    Backend,
    ConnectionRoute,
    DirectResponse,
    HeaderChanges,
    Redirect,
    Rewrite,
    Route,
    RouteMatch,
)
from edgemesh.model.services import ServiceName, ServicePort
from edgemesh.policy.objects.alpn import alpn_of
from edgemesh.policy.objects.backends import Neighbours, checked, only_port
from edgemesh.policy.objects.istio_matching import is_possible, split_authority, with_match
from edgemesh.wire.kubernetes.istio import virtual_service as spec
from edgemesh.wire.kubernetes.istio.virtual_service import (
    MESH,
    ConnectionMatch,
    HeaderOperations,
    Headers,
    HttpRoute,
    RequestMatch,
    RouteDestination,
    TcpRoute,
    TlsMatch,
    VirtualService,
    WeightedDestination,
)
from edgemesh.wire.kubernetes.parsed import ChangeableHeader


def services_of(virtual: VirtualService) -> frozenset[ServiceName]:
    """The Services that a VirtualService may be about."""
    if MESH not in virtual.spec.gateways:
        return frozenset()
    own = frozenset(_hosts(virtual))
    return own | backends_of(virtual) if _foreign_hosts(virtual) else own


def backends_of(virtual: VirtualService) -> frozenset[ServiceName]:
    """The Services that it may lead to."""
    spec = virtual.spec
    rules: tuple[HttpRoute | TcpRoute, ...] = (*spec.http, *spec.tls, *spec.tcp)
    return frozenset(
        _destination_name(virtual, destination) for rule in rules for destination in rule.route
    )


def is_about(virtual: VirtualService, service: ServiceName) -> bool:
    """Whether a host of a VirtualService names a Service, so that its routes are all there is."""
    return service in _hosts(virtual)


def routes_of(
    virtual: VirtualService, port: ServicePort, neighbours: Neighbours
) -> tuple[Route, ...]:
    """The routes of requests at a port of a Service that a VirtualService is about, in its order.

    Args:
        virtual: the object.
        port: with its policy.
        neighbours: see there.
    """
    own = is_about(virtual, (port.namespace, port.service))
    scope = RouteMatch(hosts=() if own else _foreign_hosts(virtual))
    return tuple(
        route
        for index, rule in enumerate(virtual.spec.http)
        for route in _routes_of_rule(virtual, rule, scope, port, neighbours, index=index)
    )


def connection_routes_of(
    virtual: VirtualService, port: ServicePort, neighbours: Neighbours
) -> tuple[ConnectionRoute, ...]:
    """The same for connections: first those by server name, then any.

    Args:
        virtual: the object.
        port: see there.
        neighbours: see there.
    """
    foreign = _foreign_hosts(virtual)
    own = is_about(virtual, (port.namespace, port.service))
    names = () if own or "*" in foreign else foreign
    listed: Sequence[tuple[str, Sequence[TcpRoute]]] = (
        ("tls", virtual.spec.tls),
        ("tcp", virtual.spec.tcp),
    )
    return tuple(
        route
        for word, rules in listed
        for index, rule in enumerate(rules)
        for route in _connection_routes_of_rule(
            virtual, rule, names, port, neighbours, shown=f"{word} rule {index}"
        )
    )


def _hosts(virtual: VirtualService) -> Iterator[ServiceName]:
    """Services that the hosts name, whether they are there or not."""
    for host in virtual.spec.hosts:
        name = service_of_host(host, virtual.metadata.namespace)
        if name is not None:
            yield name


def service_of_host(host: str, namespace: str) -> ServiceName | None:
    """The Service that a host may name, None when it cannot be one.

    Args:
        host: ``web``, ``web.shop`` or ``web.shop.svc`` and any domain.
        namespace: of a host that names none.
    """
    service, *rest = host.rstrip(".").split(".")
    if service == "*":
        return None
    if not rest:
        return (namespace, service)
    if len(rest) == 1 or rest[1] == "svc":
        return (rest[0], service)
    return None


def _foreign_hosts(virtual: VirtualService) -> tuple[str, ...]:
    """Hosts that are not, or not for certain, the name of a Service."""
    return tuple(
        host.lower()
        for host in virtual.spec.hosts
        if host == "*" or ("." in host and ".svc." not in f"{host}.")
    )


def _destination_name(virtual: VirtualService, route: WeightedDestination) -> ServiceName:
    """A host that can be no Service of ours is one that is not found."""
    host, namespace = route.destination.host, virtual.metadata.namespace
    return service_of_host(host, namespace) or (namespace, host)


def _routes_of_rule(
    virtual: VirtualService,
    rule: HttpRoute,
    scope: RouteMatch,
    port: ServicePort,
    neighbours: Neighbours,
    *,
    index: int,
) -> Iterator[Route]:
    metadata = virtual.metadata
    answered = rule.redirect is not None or rule.direct_response is not None
    direct = rule.direct_response
    common = Route(
        key=f"VirtualService {metadata.namespace}/{metadata.name} rule {rule.name or index}",
        backends=() if answered else _backends(virtual, rule.route, neighbours),
        request=_changes(rule.headers.request),
        response=_changes(rule.headers.response),
        rewrite=_rewrite(rule.rewrite) if rule.rewrite else None,
        redirect=_redirect(rule.redirect, port) if rule.redirect else None,
        direct=DirectResponse(direct.status, direct.body.string) if direct else None,
        request_seconds=None if rule.timeout is None else float(rule.timeout),
        retries=_retries(rule.retries) if rule.retries else None,
    )
    for match in rule.match or (RequestMatch(),):
        if is_possible(match, port):
            yield replace(common, match=with_match(scope, match))


def _backends(
    virtual: VirtualService, routes: Sequence[WeightedDestination], neighbours: Neighbours
) -> tuple[Backend, ...]:
    """A destination without a weight has everything when it is alone, else nothing."""
    unset = 1 if len(routes) == 1 else 0
    return tuple(
        checked(_backend(virtual, destination, unset, neighbours), neighbours)
        for destination in routes
    )


def _backend(
    virtual: VirtualService, route: WeightedDestination, unset: int, neighbours: Neighbours
) -> Backend:
    name = _destination_name(virtual, route)
    port = route.destination.port
    headers = route.headers if isinstance(route, RouteDestination) else Headers()
    return Backend(
        *name,
        port.number if port else only_port(name, neighbours),
        subset=route.destination.subset,
        weight=unset if route.weight is None else route.weight,
        request=_changes(headers.request),
        response=_changes(headers.response),
    )


def _connection_routes_of_rule(
    virtual: VirtualService,
    rule: TcpRoute,
    names: tuple[str, ...],
    port: ServicePort,
    neighbours: Neighbours,
    *,
    shown: str,
) -> Iterator[ConnectionRoute]:
    metadata = virtual.metadata
    backends = _backends(virtual, rule.route, neighbours)
    for match in rule.match or (ConnectionMatch(),):
        if is_possible(match, port):
            hosts = match.sni_hosts if isinstance(match, TlsMatch) else names
            yield ConnectionRoute(
                f"VirtualService {metadata.namespace}/{metadata.name} {shown}",
                backends,
                server_names=tuple(host.lower() for host in hosts),
                alpn=alpn_of(metadata) if isinstance(match, TlsMatch) else (),
                source_labels=tuple(sorted(match.source_labels.items())),
                source_namespace=match.source_namespace,
            )


def _changes(operations: HeaderOperations) -> HeaderChanges:
    return HeaderChanges(
        remove=tuple(name.lower() for name in operations.remove),
        set=_lowered(operations.set),
        add=_lowered(operations.add),
    )


def _lowered(headers: Mapping[ChangeableHeader, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name.lower(), value) for name, value in headers.items())


def _rewrite(rewrite: spec.Rewrite) -> Rewrite:
    regex = rewrite.uri_regex_rewrite
    return Rewrite(
        host=rewrite.authority or "",
        prefix=rewrite.uri,
        regex=regex.match if regex else "",
        substitution=regex.rewrite if regex else "",
    )


def _redirect(redirect: spec.Redirect, port: ServicePort) -> Redirect:
    host, own_port = split_authority(redirect.authority or "")
    number = redirect.port or own_port
    if redirect.derive_port == "FROM_PROTOCOL_DEFAULT":
        number = 443 if redirect.scheme == "https" else 80
    elif redirect.derive_port == "FROM_REQUEST_PORT":
        number = port.port
    return Redirect(
        scheme=redirect.scheme or "",
        host=host,
        port=number,
        path=Rewrite(full_path=redirect.uri) if redirect.uri else None,
        status=redirect.redirect_code,
    )


def _retries(retries: spec.Retries) -> Retries:
    base = Retries(retries.attempts, per_try_seconds=float(retries.per_try_timeout or 0))
    if retries.backoff is not None:
        base = replace(base, backoff_seconds=float(retries.backoff))
    why = retries.retry_on
    return replace(base, on=why.on, statuses=why.statuses, grpc_statuses=why.grpc_statuses)
