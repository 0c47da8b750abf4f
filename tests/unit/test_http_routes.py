"""An HTTPRoute becomes the routes of the Service ports that it is attached to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from kube_bodies import Body
from policy_bodies import Shop, backend, http_route, problems_of, read

from edgemesh.model.policies import Policy, Retries, RetryOn
from edgemesh.model.routes import (
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
from edgemesh.model.services import ServicePort
from edgemesh.policy.objects.gateway_requests import backends_of, services_of
from edgemesh.policy.objects.http_routes import routes_of
from edgemesh.wire.kubernetes import decode
from edgemesh.wire.kubernetes.gateway_api.http_route import HTTPRoute

SHOP = Shop()
V1 = Backend("default", "v1", 8080)
TO_V1 = [backend("v1", 8080)]


def routes(body: Body, port: ServicePort = SHOP.web) -> tuple[Route, ...]:
    view = decode(body)
    assert isinstance(view, HTTPRoute)
    return routes_of(view, port, SHOP.neighbours)


def rule(port: ServicePort = SHOP.web, **fields: Any) -> Route:
    """The one route of a rule."""
    fields.setdefault("backendRefs", TO_V1)
    [found] = routes_of(read(HTTPRoute, http_route(fields)), port, SHOP.neighbours)
    return found


def matched(**match: Any) -> RouteMatch:
    return rule(matches=[match]).match


def parent(**fields: Any) -> Body:
    return {"group": "", "kind": "Service", "name": "web", **fields}


def test_a_rule_becomes_a_route() -> None:
    assert rule() == Route("HTTPRoute default/web rule 0", backends=(V1,))


def test_a_rule_with_several_matches_becomes_routes_that_share_their_key() -> None:
    matches = [{"method": "GET"}, {"path": {"value": "/a"}}]
    found = routes(http_route({"backendRefs": TO_V1}, {"name": "a", "matches": matches}))
    assert [route.key for route in found] == [
        "HTTPRoute default/web rule 0",
        "HTTPRoute default/web rule a",
        "HTTPRoute default/web rule a",
    ]
    assert found[1].match == RouteMatch(method=TextMatch(Comparison.EXACT, "GET"))


@pytest.mark.parametrize(
    ("fields", "ports"),
    [
        ({}, [80, 81]),
        ({"port": 81}, [81]),
        ({"sectionName": "http"}, [80]),
        ({"sectionName": "http", "port": 81}, []),
        ({"name": "other"}, []),
        ({"namespace": "other"}, []),
        ({"namespace": "default"}, [80, 81]),
        ({"kind": "Gateway"}, []),
    ],
)
def test_a_route_is_attached_where_a_parent_says(fields: Any, ports: list[int]) -> None:
    body = http_route({"backendRefs": TO_V1}, parentRefs=[parent(**fields)])
    assert [port.port for port in (SHOP.web, SHOP.admin) if routes(body, port)] == ports


def test_what_a_route_is_about_and_where_it_leads() -> None:
    gateway = {"name": "gw"}
    body = http_route(
        {"backendRefs": [*TO_V1, backend("x", namespace="b")]},
        parentRefs=[parent(), parent(name="a", namespace="b"), gateway],
    )
    view = read(HTTPRoute, body)
    assert services_of(view) == {("default", "web"), ("b", "a")}
    assert backends_of(view) == {("default", "v1"), ("b", "x")}


def test_a_route_of_another_namespace_is_for_the_callers_of_its_own() -> None:
    body = http_route({"backendRefs": TO_V1}, parentRefs=[parent(namespace="default")])
    body["metadata"]["namespace"] = "shop"
    [found] = routes(body)
    assert found.match.source_namespace == "shop"
    assert found.backends[0].namespace == "shop"


def test_hosts_are_compared_in_lower_case() -> None:
    body = http_route({"backendRefs": TO_V1}, hostnames=["Web.Example.org", "*.example.org"])
    assert routes(body)[0].match.hosts == ("web.example.org", "*.example.org")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ({}, None),
        ({"value": "/"}, None),
        ({"value": "/a"}, TextMatch(Comparison.PREFIX, "/a")),
        ({"type": "PathPrefix", "value": "/a/"}, TextMatch(Comparison.PREFIX, "/a/")),
        ({"type": "Exact", "value": "/"}, TextMatch(Comparison.EXACT, "/")),
        ({"type": "RegularExpression", "value": ".*a"}, TextMatch(Comparison.REGEX, ".*a")),
    ],
)
def test_a_path_is_matched_as_its_type_says(path: Any, expected: TextMatch | None) -> None:
    assert matched(path=path).path == expected


def test_of_conditions_for_one_name_the_first_counts() -> None:
    match = matched(
        headers=[
            {"name": "X-Version", "value": "v2"},
            {"name": "x-version", "value": "v3"},
            {"type": "RegularExpression", "name": "Agent", "value": "curl.*"},
        ],
        queryParams=[{"name": "Q", "value": "1"}, {"name": "q", "value": "2"}],
    )
    assert match.headers == (
        NamedMatch("x-version", Comparison.EXACT, "v2"),
        NamedMatch("agent", Comparison.REGEX, "curl.*"),
    )
    assert [each.name for each in match.query] == ["Q", "q"]


def header(name: str, value: str) -> Body:
    return {"name": name, "value": value}


CHANGES = {"set": [header("A", "1")], "add": [header("B", "2")], "remove": ["C"]}


@pytest.mark.parametrize("side", ["request", "response"])
def test_filters_change_headers(side: str) -> None:
    filter_ = {"type": f"{side.title()}HeaderModifier", f"{side}HeaderModifier": CHANGES}
    expected = HeaderChanges(remove=("c",), set=(("a", "1"),), add=(("b", "2"),))
    assert getattr(rule(filters=[filter_]), side) == expected
    of_backend = rule(backendRefs=[backend("v1", 8080, filters=[filter_])]).backends[0]
    assert getattr(of_backend, side) == expected


@pytest.mark.parametrize(
    ("spec", "redirect"),
    [
        ({}, Redirect()),
        (
            {"scheme": "https", "hostname": "a.org", "port": 8443, "statusCode": 301},
            Redirect("https", "a.org", 8443, None, 301),
        ),
        (
            {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/b"}},
            Redirect(path=Rewrite(full_path="/b")),
        ),
    ],
)
def test_a_redirect_is_an_answer_without_a_backend(spec: Any, redirect: Redirect) -> None:
    filter_ = {"type": "RequestRedirect", "requestRedirect": spec}
    found = rule(filters=[filter_], backendRefs=[])
    assert found == Route("HTTPRoute default/web rule 0", redirect=redirect)


@pytest.mark.parametrize(
    ("spec", "rewrite"),
    [
        ({"hostname": "a.org"}, Rewrite("a.org")),
        (
            {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}},
            Rewrite(prefix="/b"),
        ),
        (
            {"hostname": "a", "path": {"type": "ReplaceFullPath", "replaceFullPath": "/"}},
            Rewrite("a", full_path="/"),
        ),
    ],
)
def test_a_rewrite_changes_host_and_path(spec: Any, rewrite: Rewrite) -> None:
    assert rule(filters=[{"type": "URLRewrite", "urlRewrite": spec}]).rewrite == rewrite


@pytest.mark.parametrize(
    ("filter_", "problem"),
    [
        ({"type": "ExtensionRef", "extensionRef": {}}, "extensionRef: not supported"),
        ({"type": "URLRewrite", "urlRewrite": {"hostname": "a b"}}, "urlRewrite.hostname: "),
    ],
)
def test_a_filter_that_cannot_be_used_is_not_skipped(filter_: Body, problem: str) -> None:
    body = http_route({"filters": [filter_], "backendRefs": TO_V1})
    [found] = routes(body)
    assert found.backends[0].problem == f"the filter {filter_['type']} cannot be used"
    assert problem in problems_of(body)[0]
    of_backend = http_route({"backendRefs": [backend("v1", 8080, filters=[filter_])]})
    assert routes(of_backend)[0].backends[0].problem == found.backends[0].problem


def test_a_backend_changes_headers_alone() -> None:
    filter_ = {"type": "URLRewrite", "urlRewrite": {"hostname": "a"}}
    body = http_route({"backendRefs": [backend("v1", 8080, filters=[filter_])]})
    assert routes(body)[0].backends[0].problem == "the filter URLRewrite cannot be used"
    assert problems_of(body) == [
        "spec.rules[0].backendRefs[0].filters[0].urlRewrite: not supported, got a mapping; ignored"
    ]


def test_mirroring_is_told_and_skipped() -> None:
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "x"}}}
    body = http_route({"filters": [mirror], "backendRefs": TO_V1})
    assert routes(body)[0].backends == (V1,)
    assert problems_of(body) == [
        "spec.rules[0].filters[0].requestMirror: not supported, got a mapping; ignored"
    ]


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        (backend("nobody"), "Service default/nobody not found"),
        (backend("v1", 80), "Service default/v1 has no port 80"),
        (backend("dns", 53), "Service default/dns has no port 53"),
        ({"name": "v1"}, "Service default/v1: port required, but missing"),
        (backend("v1", 8080, kind="Bucket"), "Bucket v1 is no Service of Kubernetes"),
        (
            backend("v1", 8080, group="net.example"),
            "net.example/Service v1 is no Service of Kubernetes",
        ),
        (
            backend("v1", 8080, namespace="b"),
            "Service b/v1 is in another namespace, where no ReferenceGrant lets it be referred to",
        ),
    ],
)
def test_a_backend_that_cannot_be_used_keeps_its_share_and_says_why(
    reference: Body, problem: str
) -> None:
    found = rule(backendRefs=[reference, backend("v1", 8080, weight=3)])
    assert [each.problem for each in found.backends] == [problem, ""]
    assert [each.weight for each in found.backends] == [1, 3]


def test_a_rule_without_a_backend_leads_nowhere() -> None:
    assert rule(backendRefs=[]).backends[0].problem == "the rule names no backend"


def test_timeouts_and_retries_go_over_those_of_the_policy() -> None:
    policy = Policy(retries=Retries(5, budget_percent=50))
    port = replace(SHOP.web, policy=policy)
    assert rule(port).retries is None
    found = rule(port, timeouts={"request": "10s", "backendRequest": "2s"})
    assert found.request_seconds == 10.0
    assert found.retries == Retries(5, 2.0, 50)
    found = rule(port, retry={"codes": [500, 503], "attempts": 2, "backoff": "100ms"})
    assert found.request_seconds is None
    assert found.retries == Retries(
        2,
        budget_percent=50,
        on=frozenset(
            {RetryOn.CONNECT_FAILURE, RetryOn.RESET, RetryOn.REFUSED_STREAM, RetryOn.TIMEOUT}
        ),
        statuses=frozenset({500, 503}),
        backoff_seconds=0.1,
    )


def test_a_deadline_for_a_try_alone_asks_for_no_retries() -> None:
    assert rule(timeouts={"backendRequest": "0s"}).retries == Retries(attempts=0)
    assert rule(retry={}).retries is not None


@pytest.mark.parametrize(
    "match",
    [
        {"path": {"value": "a"}},
        {"path": {"type": "Suffix", "value": "/a"}},
        {"headers": [{"name": "a b", "value": "x"}]},
        {"headers": [{"name": "a"}]},
        {"colour": "red"},
        {"method": 5},
    ],
)
def test_a_rule_whose_only_match_is_wrong_matches_nothing(match: Body) -> None:
    body = http_route({"matches": [match], "backendRefs": TO_V1}, {"backendRefs": TO_V1})
    assert [route.key for route in routes(body)] == ["HTTPRoute default/web rule 0"]
    found = problems_of(body)
    assert found[0].endswith("; spec.rules[0].matches[0] is ignored")
    assert found[1].endswith("; spec.rules[0] is ignored")
