"""HTTPRoutes: which Service ports each is attached to, and the routes that it is there.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#httproute
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from edgemesh.model.policies import Retries, RetryOn
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
    TextMatch,
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
from edgemesh.wire.kubernetes.gateway_api.http_route import (
    Filter,
    Header,
    HeaderFilter,
    HeaderMatch,
    HttpBackendReference,
    HTTPRoute,
    PathMatch,
    PathModifier,
    QueryMatch,
    RedirectFilter,
    RequestMatch,
    RewriteFilter,
    RouteRule,
)

_PATH_COMPARISONS = {
    "Exact": Comparison.EXACT,
    "PathPrefix": Comparison.PREFIX,
    "RegularExpression": Comparison.REGEX,
}
_VALUE_COMPARISONS = {"Exact": Comparison.EXACT, "RegularExpression": Comparison.REGEX}
# What is retried beside the codes that a rule names (GEP-1731: failed and broken connections).
_RETRIED = frozenset(
    {RetryOn.CONNECT_FAILURE, RetryOn.RESET, RetryOn.REFUSED_STREAM, RetryOn.TIMEOUT}
)


class _Effect(NamedTuple):
    """What the filters of a rule or of a backend do."""

    request: HeaderChanges = NO_CHANGES
    response: HeaderChanges = NO_CHANGES
    rewrite: Rewrite | None = None
    redirect: Redirect | None = None
    problem: str = ""


def services_of(route: HTTPRoute) -> frozenset[ServiceName]:
    """The Services that a route is attached to."""
    return parent_names(route.metadata.namespace, route.spec.parent_refs)


def backends_of(route: HTTPRoute) -> frozenset[ServiceName]:
    """The Services that a route may lead to."""
    references = [each for rule in route.spec.rules for each in rule.backend_refs]
    return backend_names(route.metadata.namespace, references)


def routes_of(route: HTTPRoute, port: ServicePort, neighbours: Neighbours) -> tuple[Route, ...]:
    """The routes of an HTTPRoute at a port; none when it is not attached there.

    Args:
        route: the object.
        port: with its policy.
        neighbours: see there.
    """
    namespace = route.metadata.namespace
    if not is_attached(namespace, route.spec.parent_refs, port):
        return ()
    scope = RouteMatch(
        hosts=tuple(host.lower() for host in route.spec.hostnames),
        source_namespace=callers_namespace(namespace, port),
    )
    return tuple(
        one
        for index, rule in enumerate(route.spec.rules)
        for one in _routes_of_rule(route, rule, scope, port, neighbours, index=index)
    )


def _routes_of_rule(
    route: HTTPRoute,
    rule: RouteRule,
    scope: RouteMatch,
    port: ServicePort,
    neighbours: Neighbours,
    *,
    index: int,
) -> Iterator[Route]:
    metadata = route.metadata
    effect = _effect_of(rule.filters)
    request_seconds = rule.timeouts.request
    common = Route(
        key=f"HTTPRoute {metadata.namespace}/{metadata.name} rule {rule.name or index}",
        backends=_backends(metadata.namespace, rule, effect, neighbours),
        request=effect.request,
        response=effect.response,
        rewrite=effect.rewrite,
        redirect=None if effect.problem else effect.redirect,
        request_seconds=None if request_seconds is None else float(request_seconds),
        retries=_retries(rule, port),
    )
    for match in rule.matches or (RequestMatch(),):
        yield replace(common, match=_match(match, scope))


def _match(match: RequestMatch, scope: RouteMatch) -> RouteMatch:
    return replace(
        scope,
        path=_path(match.path),
        method=TextMatch(Comparison.EXACT, match.method) if match.method else None,
        headers=_named(match.headers, lower=True),
        query=_named(match.query_params, lower=False),
    )


def _path(match: PathMatch | None) -> TextMatch | None:
    if match is None or (match.type == "PathPrefix" and match.value == "/"):
        return None
    return TextMatch(_PATH_COMPARISONS[match.type], match.value)


def _named(matches: Iterable[HeaderMatch | QueryMatch], *, lower: bool) -> tuple[NamedMatch, ...]:
    """Of several for one name the first counts."""
    found: dict[str, NamedMatch] = {}
    for match in matches:
        name = match.name.lower() if lower else match.name
        comparison = _VALUE_COMPARISONS[match.type]
        found.setdefault(name, NamedMatch(name, comparison, match.value))
    return tuple(found.values())


def _backends(
    namespace: str, rule: RouteRule, effect: _Effect, neighbours: Neighbours
) -> tuple[Backend, ...]:
    """Where a rule leads; one that leads nowhere is answered 500."""
    if effect.problem:
        return (nowhere(effect.problem),)
    if not rule.backend_refs:
        return () if effect.redirect else (nowhere("the rule names no backend"),)
    return tuple(
        checked(_backend(namespace, reference, neighbours), neighbours)
        for reference in rule.backend_refs
    )


def _backend(namespace: str, reference: HttpBackendReference, neighbours: Neighbours) -> Backend:
    effect = _effect_of(reference.filters)
    backend = backend_of("HTTPRoute", namespace, reference, neighbours)
    return replace(
        backend,
        request=effect.request,
        response=effect.response,
        problem=backend.problem or effect.problem,
    )


def _effect_of(filters: Iterable[Filter]) -> _Effect:
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
        if each.url_rewrite is not None:
            effect = effect._replace(rewrite=_rewrite(each.url_rewrite))
        if each.request_redirect is not None:
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


def _retries(rule: RouteRule, port: ServicePort) -> Retries | None:
    """Those of the port's policy with what the rule says instead; None where it says nothing."""
    per_try, retry = rule.timeouts.backend_request, rule.retry
    if per_try is None and retry is None:
        return None
    retries = port.policy.retries or Retries(attempts=0)
    if retry is not None:
        retries = replace(
            retries,
            attempts=1 if retry.attempts is None else retry.attempts,
            on=_RETRIED,
            statuses=frozenset(retry.codes),
            backoff_seconds=(
                retries.backoff_seconds if retry.backoff is None else float(retry.backoff)
            ),
        )
    return retries if per_try is None else replace(retries, per_try_seconds=float(per_try))
