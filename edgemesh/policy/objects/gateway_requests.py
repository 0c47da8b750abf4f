"""What HTTPRoutes and GRPCRoutes have in common: where they count, filters, backends.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#httproute and #grpcroute
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from edgemesh.model.routes import (
    NO_CHANGES,
    Backend,
    Comparison,
    HeaderChanges,
    NamedMatch,
    Redirect,
    Rewrite,
    Route,
    RouteMatch,
)
from edgemesh.model.services import ServiceName, ServicePort
from edgemesh.policy.objects.backends import Neighbours, checked
from edgemesh.policy.objects.gateway_references import (
    backend_names,
    backend_of,
    callers_namespace,
    is_attached,
    nowhere,
    parent_names,
)
from edgemesh.wire.kubernetes.gateway_api.grpc_route import GRPCRoute, GrpcRule
from edgemesh.wire.kubernetes.gateway_api.http_route import (
    Filter,
    HTTPRoute,
    PathModifier,
    RedirectFilter,
    RewriteFilter,
    RouteRule,
)
from edgemesh.wire.kubernetes.gateway_api.requests import (
    FilteredBackend,
    Header,
    HeaderFilter,
    HeaderMatch,
    HeadersFilter,
)

VALUE_COMPARISONS = {"Exact": Comparison.EXACT, "RegularExpression": Comparison.REGEX}


class _Effect(NamedTuple):
    """What the filters of a rule or of a backend do."""

    request: HeaderChanges = NO_CHANGES
    response: HeaderChanges = NO_CHANGES
    rewrite: Rewrite | None = None
    redirect: Redirect | None = None
    problem: str = ""


def services_of(route: HTTPRoute | GRPCRoute) -> frozenset[ServiceName]:
    """The Services that a route is attached to."""
    return parent_names(route.metadata.namespace, route.spec.parent_refs)


def backends_of(route: HTTPRoute | GRPCRoute) -> frozenset[ServiceName]:
    """The Services that a route may lead to."""
    references = [each for rule in route.spec.rules for each in rule.backend_refs]
    return backend_names(route.metadata.namespace, references)


def scope_of(route: HTTPRoute | GRPCRoute, port: ServicePort) -> RouteMatch | None:
    """The conditions that all rules of a route share, None when it is not attached to a port."""
    namespace = route.metadata.namespace
    if not is_attached(namespace, route.spec.parent_refs, port):
        return None
    return RouteMatch(
        hosts=tuple(host.lower() for host in route.spec.hostnames),
        source_namespace=callers_namespace(namespace, port),
    )


def route_of_rule(
    route: HTTPRoute | GRPCRoute, rule: RouteRule | GrpcRule, neighbours: Neighbours, *, index: int
) -> Route:
    """A rule without its conditions.

    Args:
        route: the object.
        rule: of it.
        neighbours: see there.
        index: of the rule, which names it where it has no name.
    """
    kind, metadata = type(route).__name__, route.metadata
    effect = _effect_of(rule.filters)
    return Route(
        key=f"{kind} {metadata.namespace}/{metadata.name} rule {rule.name or index}",
        backends=_backends(route, rule, effect, neighbours),
        request=effect.request,
        response=effect.response,
        rewrite=effect.rewrite,
        redirect=None if effect.problem else effect.redirect,
    )


def header_conditions(matches: Iterable[HeaderMatch]) -> tuple[NamedMatch, ...]:
    """Of several for one header the first counts."""
    found: dict[str, NamedMatch] = {}
    for match in matches:
        name = match.name.lower()
        found.setdefault(name, NamedMatch(name, VALUE_COMPARISONS[match.type], match.value))
    return tuple(found.values())


def _backends(
    route: HTTPRoute | GRPCRoute,
    rule: RouteRule | GrpcRule,
    effect: _Effect,
    neighbours: Neighbours,
) -> tuple[Backend, ...]:
    """Where a rule leads; one that leads nowhere is answered 500."""
    if effect.problem:
        return (nowhere(effect.problem),)
    if not rule.backend_refs:
        return () if effect.redirect else (nowhere("the rule names no backend"),)
    return tuple(
        checked(_backend(route, reference, neighbours), neighbours)
        for reference in rule.backend_refs
    )


def _backend(
    route: HTTPRoute | GRPCRoute, reference: FilteredBackend, neighbours: Neighbours
) -> Backend:
    effect = _effect_of(reference.filters)
    kind, namespace = type(route).__name__, route.metadata.namespace
    backend = backend_of(kind, namespace, reference, neighbours)
    return replace(
        backend,
        request=effect.request,
        response=effect.response,
        problem=backend.problem or effect.problem,
    )


def _effect_of(filters: Iterable[HeadersFilter]) -> _Effect:
    """What filters do together.

    Mirroring is skipped, since it changes nothing for who calls; another filter that cannot be
    used must not be (HTTPRouteFilter: such requests get an error).
    """
    effect = _Effect()
    for each in filters:
        before = effect
        if each.request_header_modifier is not None:
            effect = effect._replace(request=_changes(each.request_header_modifier))
        if each.response_header_modifier is not None:
            effect = effect._replace(response=_changes(each.response_header_modifier))
        if isinstance(each, Filter) and each.url_rewrite is not None:
            effect = effect._replace(rewrite=_rewrite(each.url_rewrite))
        if isinstance(each, Filter) and each.request_redirect is not None:
            effect = effect._replace(redirect=_redirect(each.request_redirect))
        if effect is before and each.type != "RequestMirror":
            effect = effect._replace(problem=f"the filter {each.type} cannot be used")
    return effect


def _changes(changes: HeaderFilter) -> HeaderChanges:
    return HeaderChanges(
        remove=tuple(name.lower() for name in changes.remove),
        set=_lowered(changes.set),
        add=_lowered(changes.add),
    )


def _lowered(headers: Iterable[Header]) -> tuple[tuple[str, str], ...]:
    return tuple((header.name.lower(), header.value) for header in headers)


def _redirect(spec: RedirectFilter) -> Redirect:
    return Redirect(
        scheme=spec.scheme or "",
        host=spec.hostname or "",
        port=spec.port or 0,
        path=_path_rewrite(Rewrite(), spec.path),
        status=spec.status_code,
    )


def _rewrite(spec: RewriteFilter) -> Rewrite:
    host = Rewrite(host=spec.hostname or "")
    return _path_rewrite(host, spec.path) or host


def _path_rewrite(base: Rewrite, modifier: PathModifier | None) -> Rewrite | None:
    if modifier is None:
        return None
    return replace(base, full_path=modifier.replace_full_path, prefix=modifier.replace_prefix_match)
