"""A VirtualService becomes the routes of the Services that it is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from kube_bodies import Body
from policy_bodies import Shop, problems_of, read, to, virtual_service

from edgemesh.model.policies import Retries, RetryOn
from edgemesh.model.routes import (
    Backend,
    Comparison,
    DirectResponse,
    HeaderChanges,
    NamedMatch,
    Redirect,
    Rewrite,
    Route,
    RouteMatch,
    TextMatch,
)
from edgemesh.model.services import ServicePort
from edgemesh.policy.objects.istio_matching import split_authority
from edgemesh.policy.objects.virtual_services import (
    backends_of,
    is_about,
    routes_of,
    service_of_host,
    services_of,
)
from edgemesh.wire.kubernetes import FieldError, decode
from edgemesh.wire.kubernetes.istio.virtual_service import VirtualService

SHOP = Shop()
TO_V1 = [to("v1")]


def routes(body: Body, port: ServicePort = SHOP.web) -> tuple[Route, ...]:
    view = decode(body)
    assert isinstance(view, VirtualService)
    return routes_of(view, port, SHOP.neighbours)


def rule(port: ServicePort = SHOP.web, **fields: Any) -> Route:
    """The one route of a rule in which nothing is wrong."""
    if not {"redirect", "directResponse"} & set(fields):
        fields.setdefault("route", TO_V1)
    [found] = routes_of(read(VirtualService, virtual_service(fields)), port, SHOP.neighbours)
    return found


def matched(**match: Any) -> RouteMatch:
    return rule(match=[match]).match


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("web", ("default", "web")),
        ("web.shop", ("shop", "web")),
        ("web.shop.svc", ("shop", "web")),
        ("web.shop.svc.cluster.local.", ("shop", "web")),
        ("web.example.org", None),
        ("*", None),
        ("*.shop.svc.cluster.local", None),
    ],
)
def test_a_host_may_name_a_service(host: str, service: Any) -> None:
    assert service_of_host(host, "default") == service


def test_a_virtual_service_for_a_service_is_about_it_alone() -> None:
    view = read(VirtualService, virtual_service({"route": TO_V1}, hosts=["web", "a.b.svc"]))
    assert services_of(view) == {("default", "web"), ("b", "a")}
    assert backends_of(view) == {("default", "v1")}
    assert is_about(view, ("default", "web"))
    assert not is_about(view, ("default", "v1"))


def test_one_for_another_host_is_about_the_services_that_it_leads_to() -> None:
    body = virtual_service({"route": [to("v1"), to("v2.b")]}, hosts=["Shop.example.org", "*"])
    view = read(VirtualService, body)
    assert services_of(view) == {("default", "v1"), ("b", "v2")}
    assert routes(body)[0].match.hosts == ("shop.example.org", "*")


def test_a_virtual_service_of_a_gateway_alone_is_none_of_ours() -> None:
    body = virtual_service({"route": TO_V1}, gateways=["edgemesh-gateway"])
    view = decode(body)
    assert isinstance(view, VirtualService)
    assert services_of(view) == frozenset()
    assert problems_of(body) == [
        'spec.gateways[0]: expected one of mesh, got "edgemesh-gateway"; ignored'
    ]
    beside = virtual_service({"route": TO_V1}, gateways=["mesh", "edgemesh-gateway"])
    assert routes(beside)


def test_rules_are_routes_in_their_order() -> None:
    found = routes(
        virtual_service(
            {"name": "a", "match": [{"uri": {"prefix": "/b"}}, {}], "route": TO_V1},
            {"route": [to("v2", weight=3), to("v1", weight=1), to("web")]},
        )
    )
    assert [route.key for route in found] == [
        "VirtualService default/web rule a",
        "VirtualService default/web rule a",
        "VirtualService default/web rule 1",
    ]
    assert found[0].backends == (Backend("default", "v1", 8080),)
    assert [each.weight for each in found[2].backends] == [3, 1, 0]


@pytest.mark.parametrize(
    ("destination", "backend"),
    [
        ({"host": "v1"}, Backend("default", "v1", 8080)),
        ({"host": "web"}, Backend("default", "web", 0)),
        ({"host": "web", "port": {"number": 81}}, Backend("default", "web", 81)),
        ({"host": "v2", "subset": "blue"}, Backend("default", "v2", 80, "blue")),
        (
            {"host": "v2", "subset": "red"},
            Backend("default", "v2", 80, "red", problem="Service default/v2 has no subset red"),
        ),
        (
            {"host": "a.example.org"},
            Backend(
                "default", "a.example.org", 0, problem="Service default/a.example.org not found"
            ),
        ),
    ],
)
def test_a_destination_is_a_service_port(destination: Body, backend: Backend) -> None:
    assert rule(route=[{"destination": destination}]).backends == (backend,)


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({}, RouteMatch()),
        ({"name": "x", "statPrefix": "y"}, RouteMatch()),
        ({"uri": {"exact": "/a"}}, RouteMatch(path=TextMatch(Comparison.EXACT, "/a"))),
        (
            {"uri": {"prefix": "/a"}, "ignoreUriCase": True},
            RouteMatch(path=TextMatch(Comparison.TEXT_PREFIX, "/a", ignore_case=True)),
        ),
        ({"uri": {"regex": "/a.*"}}, RouteMatch(path=TextMatch(Comparison.REGEX, "/a.*"))),
        ({"uri": {}}, RouteMatch()),
        ({"method": {"exact": "GET"}}, RouteMatch(method=TextMatch(Comparison.EXACT, "GET"))),
        (
            {"authority": {"exact": "Web.org:80"}},
            RouteMatch(headers=(NamedMatch(":authority", Comparison.EXACT, "web.org"),)),
        ),
        (
            {"authority": {"prefix": "Web."}},
            RouteMatch(
                headers=(NamedMatch(":authority", Comparison.PREFIX, "Web.", ignore_case=True),)
            ),
        ),
        (
            {"headers": {"X-User": {"regex": ".+"}, "agent": {}, "a": {"prefix": "b"}}},
            RouteMatch(
                headers=(
                    NamedMatch("x-user", Comparison.REGEX, ".+"),
                    NamedMatch("agent", Comparison.PRESENT),
                    NamedMatch("a", Comparison.PREFIX, "b"),
                )
            ),
        ),
        (
            {"withoutHeaders": {"X-User": {}, "a": {"exact": "b"}}},
            RouteMatch(
                headers=(
                    NamedMatch("x-user", Comparison.ABSENT),
                    NamedMatch("a", Comparison.EXACT, "b", negated=True),
                )
            ),
        ),
        (
            {"queryParams": {"Q": {"exact": "1"}}},
            RouteMatch(query=(NamedMatch("Q", Comparison.EXACT, "1"),)),
        ),
        (
            {"sourceLabels": {"b": "2", "a": "1"}, "sourceNamespace": "shop"},
            RouteMatch(source_labels=(("a", "1"), ("b", "2")), source_namespace="shop"),
        ),
    ],
)
def test_conditions_are_those_of_istio(match: Body, expected: RouteMatch) -> None:
    assert matched(**match) == expected


@pytest.mark.parametrize(
    ("match", "possible"),
    [
        ({"port": 80}, True),
        ({"port": 81}, False),
        ({"gateways": ["mesh", "x"]}, True),
        ({"gateways": ["x"]}, False),
        ({"scheme": {"exact": "http"}}, True),
        ({"scheme": {"exact": "https"}}, False),
        ({"scheme": {"prefix": "ht"}}, True),
        ({"scheme": {"prefix": "https"}}, False),
        ({"scheme": {"regex": "https?"}}, True),
        ({"scheme": {"regex": "https"}}, False),
        ({"scheme": {"regex": "("}}, False),
        ({"scheme": {}}, True),
    ],
)
def test_a_match_that_no_request_can_meet_is_left_out(match: Body, *, possible: bool) -> None:
    body = virtual_service({"match": [match], "route": TO_V1})
    assert bool(routes(body)) is possible


def test_headers_change_for_the_rule_and_for_a_destination() -> None:
    headers = {
        "request": {"set": {"A": "1"}, "add": {"B": "2"}, "remove": ["C"]},
        "response": {"remove": ["Server"]},
    }
    request = HeaderChanges(("c",), (("a", "1"),), (("b", "2"),))
    response = HeaderChanges(("server",))
    assert (rule(headers=headers).request, rule(headers=headers).response) == (request, response)
    [backend] = rule(route=[to("v1", headers=headers)]).backends
    assert (backend.request, backend.response) == (request, response)


@pytest.mark.parametrize(
    ("spec", "redirect"),
    [
        ({"uri": "/b"}, Redirect(path=Rewrite(full_path="/b"), status=301)),
        (
            {"authority": "a.org:8080", "scheme": "https", "redirectCode": 307},
            Redirect("https", "a.org", 8080, None, 307),
        ),
        ({"authority": "a.org", "port": 81}, Redirect(host="a.org", port=81, status=301)),
        ({"derivePort": "FROM_REQUEST_PORT"}, Redirect(port=80, status=301)),
        ({"derivePort": "FROM_PROTOCOL_DEFAULT"}, Redirect(port=80, status=301)),
        (
            {"derivePort": "FROM_PROTOCOL_DEFAULT", "scheme": "https"},
            Redirect("https", port=443, status=301),
        ),
    ],
)
def test_a_redirect_is_an_answer(spec: Body, redirect: Redirect) -> None:
    found = rule(redirect=spec)
    assert found == Route("VirtualService default/web rule 0", redirect=redirect)


def test_a_direct_response_is_an_answer() -> None:
    found = rule(directResponse={"status": 503, "body": {"string": "later"}})
    assert found.direct == DirectResponse(503, "later")
    assert found.backends == ()
    assert rule(directResponse={"status": 404}).direct == DirectResponse(404)


@pytest.mark.parametrize(
    ("spec", "rewrite"),
    [
        ({"uri": "/b"}, Rewrite(prefix="/b")),
        ({"authority": "a.org"}, Rewrite("a.org")),
        (
            {"uriRegexRewrite": {"match": "/v([0-9])", "rewrite": r"/\1"}},
            Rewrite(regex="/v([0-9])", substitution=r"/\1"),
        ),
    ],
)
def test_a_rewrite_changes_host_and_path(spec: Body, rewrite: Rewrite) -> None:
    assert rule(rewrite=spec).rewrite == rewrite


@pytest.mark.parametrize(
    ("spec", "retries"),
    [
        (
            {"attempts": 3},
            Retries(
                3,
                on=frozenset({RetryOn.CONNECT_FAILURE, RetryOn.REFUSED_STREAM}),
                statuses=frozenset({503}),
                grpc_statuses=frozenset({1, 14}),
            ),
        ),
        (
            {"attempts": 0, "perTryTimeout": "2s", "retryOn": "reset, 5xx,", "backoff": "10ms"},
            Retries(
                0,
                2.0,
                on=frozenset(RetryOn) - {RetryOn.GATEWAY_ERROR, RetryOn.STATUS},
                backoff_seconds=0.01,
            ),
        ),
        (
            {
                "attempts": 1,
                "retryOn": "retriable-status-codes,429,retriable-4xx,deadline-exceeded",
            },
            Retries(
                1,
                on=frozenset({RetryOn.STATUS}),
                statuses=frozenset({409, 429}),
                grpc_statuses=frozenset({4}),
            ),
        ),
    ],
)
def test_retries_are_those_of_istio(spec: Body, retries: Retries) -> None:
    assert rule(retries=spec).retries == retries


def test_a_timeout_is_of_the_whole_request() -> None:
    assert rule(timeout="5s").request_seconds == 5.0
    assert rule(timeout="0s").request_seconds == 0.0
    assert rule().request_seconds is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a.org", ("a.org", 0)),
        ("a.org:80", ("a.org", 80)),
        ("a.org:99999", ("a.org:99999", 0)),
        ("::1", ("::1", 0)),
        ("[::1]:80", ("[::1]", 80)),
    ],
)
def test_an_authority_is_a_host_and_perhaps_a_port(text: str, parts: tuple[str, int]) -> None:
    assert split_authority(text) == parts


@pytest.mark.parametrize("hosts", [None, [], ["a b"], "web", 5])
def test_a_virtual_service_without_a_usable_host_is_refused(hosts: Any) -> None:
    with pytest.raises(FieldError, match=r"spec"):
        decode(virtual_service(hosts=hosts))


def test_what_edgemesh_has_nothing_for_is_told_and_the_rest_applies() -> None:
    body = virtual_service(
        {"fault": {"abort": {}}, "mirror": {"host": "v2"}, "route": TO_V1},
        {"delegate": {"name": "other"}},
        exportTo=["."],
    )
    assert [replace(route, backends=()) for route in routes(body)] == [
        Route("VirtualService default/web rule 0")
    ]
    assert problems_of(body) == [
        "spec.http[0].fault: not supported, got a mapping; ignored",
        "spec.http[0].mirror: not supported, got a mapping; ignored",
        "spec.http[1].delegate: not supported, got a mapping; ignored",
        "spec.http[1]: expected route, redirect or directResponse, got none of them; ignored",
        "spec.exportTo: not supported, got a list; ignored",
    ]


@pytest.mark.parametrize(
    ("match", "problem"),
    [
        ({"uri": {"suffix": "/a"}}, 'uri.suffix: unknown field, got "/a"'),
        ({"headers": {"a b": {}}}, 'headers["a b"]: expected the name of a header, got "a b"'),
        ({"sourceLabels": {"a": 1}}, 'sourceLabels["a"]: expected a string, got 1'),
    ],
)
def test_a_rule_whose_only_match_is_wrong_matches_nothing(match: Body, problem: str) -> None:
    body = virtual_service({"match": [match], "route": TO_V1})
    assert routes(body) == ()
    where = "spec.http[0].match[0]"
    assert problems_of(body)[0] == f"{where}.{problem}; {where} is ignored"


def test_a_header_that_would_end_early_is_not_set() -> None:
    headers = {"request": {"set": {"a": "1\r\nb: 2", "c": "3"}}}
    body = virtual_service({"headers": headers, "route": TO_V1})
    assert routes(body)[0].request == HeaderChanges(set=(("c", "3"),))
    assert len(problems_of(body)) == 1
