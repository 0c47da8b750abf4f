"""HTTPRoutes: the routes that each is at the Service ports that it is attached to.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#httproute
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from edgemesh.model.policies import Retries, RetryOn
from edgemesh.model.routes import Comparison, NamedMatch, Route, RouteMatch, TextMatch
from edgemesh.model.services import ServicePort
from edgemesh.policy.objects.backends import Neighbours
from edgemesh.policy.objects.gateway_requests import (
    VALUE_COMPARISONS,
    header_conditions,
    route_of_rule,
    scope_of,
)
from edgemesh.wire.kubernetes.gateway_api.http_route import (
    HTTPRoute,
    PathMatch,
    QueryMatch,
    RequestMatch,
    RouteRule,
)

_PATH_COMPARISONS = {
    "Exact": Comparison.EXACT,
    "PathPrefix": Comparison.PREFIX,
    "RegularExpression": Comparison.REGEX,
}
# What is retried beside the codes that a rule names (GEP-1731: failed and broken connections).
_RETRIED = frozenset(
    {RetryOn.CONNECT_FAILURE, RetryOn.RESET, RetryOn.REFUSED_STREAM, RetryOn.TIMEOUT}
)


def routes_of(route: HTTPRoute, port: ServicePort, neighbours: Neighbours) -> tuple[Route, ...]:
    """The routes of an HTTPRoute at a port; none when it is not attached there.

    Args:
        route: the object.
        port: with its policy.
        neighbours: see there.
    """
    scope = scope_of(route, port)
    if scope is None:
        return ()
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
    request_seconds = rule.timeouts.request
    common = replace(
        route_of_rule(route, rule, neighbours, index=index),
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
        headers=header_conditions(match.headers),
        query=_query(match.query_params),
    )


def _path(match: PathMatch | None) -> TextMatch | None:
    if match is None or (match.type == "PathPrefix" and match.value == "/"):
        return None
    return TextMatch(_PATH_COMPARISONS[match.type], match.value)


def _query(matches: Iterable[QueryMatch]) -> tuple[NamedMatch, ...]:
    """Of several for one parameter the first counts."""
    found: dict[str, NamedMatch] = {}
    for match in matches:
        condition = NamedMatch(match.name, VALUE_COMPARISONS[match.type], match.value)
        found.setdefault(match.name, condition)
    return tuple(found.values())


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
