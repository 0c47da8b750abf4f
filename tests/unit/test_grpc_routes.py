"""A GRPCRoute becomes the routes of the Service ports that it is attached to."""

from __future__ import annotations

from typing import Any

import pytest
from kube_bodies import Body, change, service
from policy_bodies import Shop, backend, http_route, problems_of, read

from edgemesh.meta.snapshot import SnapshotBuilder
from edgemesh.model.objects import ObjectKey
from edgemesh.model.routes import (
    Backend,
    Comparison,
    HeaderChanges,
    NamedMatch,
    Route,
    RouteMatch,
    TextMatch,
)
from edgemesh.model.services import ServicePort, Source
from edgemesh.policy.objects.gateway_requests import backends_of, services_of
from edgemesh.policy.objects.grpc_routes import routes_of
from edgemesh.wire.kubernetes import decode
from edgemesh.wire.kubernetes.gateway_api.grpc_route import GRPCRoute
from edgemesh.wire.regex import regex_matcher

SHOP = Shop()
TO_V1 = [backend("v1", 8080)]


def grpc_route(*rules: Body, **spec: Any) -> Body:
    body = http_route(*rules, **spec)
    return {**body, "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute"}


def routes(body: Body, port: ServicePort = SHOP.web) -> tuple[Route, ...]:
    view = decode(body)
    assert isinstance(view, GRPCRoute)
    return routes_of(view, port, SHOP.neighbours)


def path_of(**method: Any) -> TextMatch:
    body = grpc_route({"matches": [{"method": method}], "backendRefs": TO_V1})
    assert problems_of(body) == []
    [found] = routes(body)
    assert found.match.path is not None
    return found.match.path


def test_a_rule_becomes_a_route() -> None:
    assert routes(grpc_route({"backendRefs": TO_V1})) == (
        Route("GRPCRoute default/web rule 0", backends=(Backend("default", "v1", 8080),)),
    )


def test_it_is_attached_and_leads_like_an_httproute() -> None:
    view = read(GRPCRoute, grpc_route({"backendRefs": TO_V1}, hostnames=["A.org"]))
    assert services_of(view) == {("default", "web")}
    assert backends_of(view) == {("default", "v1")}
    assert routes(grpc_route({"backendRefs": TO_V1}, parentRefs=[])) == ()
    [found] = routes(grpc_route({"backendRefs": TO_V1}, hostnames=["A.org"]))
    assert found.match == RouteMatch(hosts=("a.org",))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (
            {"service": "shop.Orders", "method": "Get"},
            TextMatch(Comparison.EXACT, "/shop.Orders/Get"),
        ),
        ({"service": "shop.Orders"}, TextMatch(Comparison.PREFIX, "/shop.Orders")),
    ],
)
def test_a_call_is_a_request_for_a_path(method: Any, path: TextMatch) -> None:
    assert path_of(**method) == path


@pytest.mark.parametrize(
    ("method", "right", "wrong"),
    [
        ({"method": "Get"}, "/shop.Orders/Get", "/shop.Orders/GetAll"),
        ({"method": "G.t"}, "/a/G.t", "/a/Get"),
        (
            {"type": "RegularExpression", "service": "shop[.].+", "method": "Get|Put"},
            "/shop.Orders/Put",
            "/shop/Put",
        ),
        ({"type": "RegularExpression", "service": "a|b"}, "/b/Any", "/c/Any"),
        ({"type": "RegularExpression", "method": "Get.*"}, "/a/GetAll", "/a/b/GetAll"),
    ],
)
def test_what_is_not_said_of_a_call_may_be_anything(method: Any, right: str, wrong: str) -> None:
    path = path_of(**method)
    assert path.comparison is Comparison.REGEX
    matches = regex_matcher(path.value, ignore_case=False)
    assert matches is not None
    assert matches(right)
    assert not matches(wrong)


@pytest.mark.parametrize(
    ("method", "problem"),
    [
        ({}, "expected service or method, got none of them"),
        ({"type": "RegularExpression", "service": "("}, "the regular expression"),
    ],
)
def test_a_call_that_cannot_be_is_told_and_matches_nothing(method: Any, problem: str) -> None:
    body = grpc_route({"matches": [{"method": method}], "backendRefs": TO_V1})
    assert routes(body) == ()
    assert problems_of(body)[0].startswith(f"spec.rules[0].matches[0].method: {problem}")


def test_headers_are_matched_and_changed() -> None:
    changes = {"set": [{"name": "A", "value": "1"}]}
    rule = {
        "matches": [{"headers": [{"name": "User", "value": "a"}]}],
        "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": changes}],
        "backendRefs": TO_V1,
    }
    [found] = routes(grpc_route(rule))
    assert found.match.headers == (NamedMatch("user", Comparison.EXACT, "a"),)
    assert found.request == HeaderChanges(set=(("a", "1"),))


def test_a_redirect_is_nothing_for_grpc() -> None:
    filter_ = {"type": "RequestRedirect", "requestRedirect": {"hostname": "a"}}
    [found] = routes(grpc_route({"filters": [filter_], "backendRefs": TO_V1}))
    assert found.redirect is None
    assert found.backends[0].problem == "the filter RequestRedirect cannot be used"


def test_it_reaches_the_snapshot_and_says_where_it_is_in_force() -> None:
    made = SnapshotBuilder("edge-1", Source.NODE)
    made.apply([change(service()), change(grpc_route({"backendRefs": [backend("web")]}))])
    [route] = made.build(1).tcp["10.96.0.10", 80].routes
    assert route.key == "GRPCRoute default/web rule 0"
    found = {each.type: each for each in made.conditions(ObjectKey("GRPCRoute", "default", "web"))}
    assert found["Programmed"].message == "in force at default/web:80"
    assert found["ResolvedRefs"].status
