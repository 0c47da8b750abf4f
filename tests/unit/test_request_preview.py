"""Where a request would go is found out without sending it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from edgemesh.model.flows import FlowFacts, Refusal
from edgemesh.model.policies import Balance, Balancing, HashKey, HashSource, Policy, Subset
from edgemesh.model.routes import (
    Backend,
    Comparison,
    DirectResponse,
    NamedMatch,
    Redirect,
    Route,
    RouteMatch,
    TextMatch,
)
from edgemesh.model.services import Endpoint, PodIdentity, ServicePort, Snapshot, Transport
from edgemesh.model.trace import TracedRequest
from edgemesh.policy.traffic.traffic import Traffic
from edgemesh.policy.verdict import Verdict, preview

OLD, NEW, OTHER = (Endpoint(f"10.0.0.{number}", 8080) for number in (1, 2, 3))
CLIENT = "10.244.0.9"


def at(path: str) -> TextMatch:
    return TextMatch(Comparison.PREFIX, path)


def of_user(name: str) -> NamedMatch:
    return NamedMatch("x-user", Comparison.EXACT, name)


ROUTES = (
    Route("new", RouteMatch(headers=(of_user("jane"),)), (Backend("default", "web", 80, "new"),)),
    Route("away", RouteMatch(path=at("/away")), redirect=Redirect(host="example.org")),
    Route("told", RouteMatch(path=at("/told")), direct=DirectResponse(200, "hello")),
    Route("other", RouteMatch(path=at("/other")), (Backend("default", "other", 80),)),
    Route("lost", RouteMatch(path=at("/lost")), (Backend("default", "nobody", 80),)),
    Route("cart", RouteMatch(path=at("/cart"), source_labels=(("app", "cart"),))),
    Route("own", RouteMatch(path=at("/own"))),
)
WEB = ServicePort(
    "default",
    "web",
    "http",
    Transport.TCP,
    80,
    application_protocol="http",
    endpoints=(OLD, NEW),
    subsets={"new": Subset("new", frozenset({(NEW.address, NEW.port)}), Policy())},
    routes=ROUTES,
)
ELSEWHERE = replace(WEB, service="other", endpoints=(OTHER,), subsets={}, routes=())


def asked(request: TracedRequest | None, port: ServicePort = WEB, client: str = CLIENT) -> Verdict:
    snapshot = Snapshot(
        tcp={("10.96.0.1", 80): port},
        ports={each.key: each for each in (port, ELSEWHERE)},
        pods={CLIENT: PodIdentity("default", "cart-1", labels={"app": "cart"})},
    )
    traffic = Traffic(Random(0).random)
    traffic.swap(snapshot, 0.0)
    facts = FlowFacts(Transport.TCP, (client, 40000), ("10.96.0.1", 80))
    return preview(snapshot, facts, traffic, 0.0, listener_port=15001, attempts=2, request=request)


def endpoints(verdict: Verdict) -> list[Endpoint]:
    return [state.endpoint for state in verdict.candidates]


def test_without_a_request_every_endpoint_of_the_port_may_be_meant() -> None:
    verdict = asked(None)
    assert (verdict.route, verdict.path, endpoints(verdict)) == ("", "http", [OLD, NEW])


@pytest.mark.parametrize(
    ("request_", "route", "found"),
    [
        (TracedRequest(path="/own/cart"), "own", [OLD, NEW]),
        (TracedRequest(path="/other"), "other", [OTHER]),
        (TracedRequest(headers=(("x-user", "jane"),)), "new", [NEW]),
        (TracedRequest(path="/cart"), "cart", [OLD, NEW]),
    ],
    ids=["the port itself", "another Service", "a subset by a header", "by who calls"],
)
def test_a_request_goes_where_its_route_leads(
    request_: TracedRequest, route: str, found: list[Endpoint]
) -> None:
    verdict = asked(request_)
    assert (verdict.route, verdict.path, verdict.refusal) == (route, "http", None)
    assert endpoints(verdict) == found


def test_a_request_without_a_route_is_refused() -> None:
    assert asked(TracedRequest(path="/nowhere")).refusal is Refusal.NO_ROUTE
    assert asked(TracedRequest(path="/cart"), client="10.244.0.1").refusal is Refusal.NO_ROUTE


def test_a_route_that_leads_nowhere_refuses_and_is_named() -> None:
    verdict = asked(TracedRequest(path="/lost"))
    assert (verdict.refusal, verdict.route) == (Refusal.NO_BACKEND, "lost")


@pytest.mark.parametrize("path", ["/away", "/told"])
def test_a_route_that_answers_by_itself_needs_no_endpoint(path: str) -> None:
    verdict = asked(TracedRequest(path=path))
    assert (verdict.route, verdict.refusal, verdict.path) == (path[1:], None, "http")
    assert not verdict.candidates


def test_a_request_is_hashed_by_what_the_policy_names() -> None:
    key = HashKey(HashSource.HEADER, "x-user")
    balancing = Balancing(algorithm=Balance.RING_HASH, hash_key=key)
    port = replace(WEB, routes=(), policy=Policy(balancing=balancing))
    users = [TracedRequest(headers=(("x-user", f"user-{number}"),)) for number in range(20)]
    first = [endpoints(asked(user, port))[0] for user in users]
    assert set(first) == {OLD, NEW}
    assert first == [endpoints(asked(user, port, "10.244.0.1"))[0] for user in users]


def test_a_port_that_is_relayed_is_not_routed_by_requests() -> None:
    verdict = asked(TracedRequest(path="/nowhere"), replace(WEB, application_protocol=""))
    assert (verdict.path, verdict.refusal, endpoints(verdict)) == ("relay", None, [OLD, NEW])


def test_values_of_a_repeated_header_are_joined() -> None:
    request = TracedRequest(headers=(("accept", "a"), ("x", "1"), ("accept", "b")))
    assert (request.value("accept"), request.value("none")) == ("a, b", None)
