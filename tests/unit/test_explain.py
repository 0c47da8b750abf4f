"""A trace's answer says what the data plane knows and would decide."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgemesh.model.flows import FlowFacts, Refusal
from edgemesh.model.paths import ALL_PATHS, NOT_LOOKED_AT, AvailablePaths
from edgemesh.model.policies import Policy, Retries
from edgemesh.model.routes import Route
from edgemesh.model.services import (
    Callers,
    Endpoint,
    PodIdentity,
    Service,
    ServicePort,
    Snapshot,
    Transport,
)
from edgemesh.model.trace import TraceAnswer, TracedRequest, TraceQuestion
from edgemesh.policy.explain import explain_call
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.traffic import Traffic
from edgemesh.policy.verdict import Verdict

ENDPOINTS = (Endpoint("10.1.0.1", 8080), Endpoint("10.1.0.2", 8080))
HTTP = ServicePort("default", "web", "http", Transport.TCP, 80, endpoints=ENDPOINTS)
DNS_TCP = ServicePort("default", "web", "dns-tcp", Transport.TCP, 53)
DNS_UDP = ServicePort("default", "web", "dns", Transport.UDP, 53)
WEB = Service(
    "default",
    "web",
    cluster_addresses=("10.96.0.1", "fd00:96::1"),
    ports=(HTTP, DNS_UDP, DNS_TCP),
)
HEADLESS = Service("default", "db", headless=True, ports=(HTTP,))
SNAPSHOT = Snapshot(
    7,
    tcp={(address, port.port): port for address in WEB.addresses for port in (HTTP, DNS_TCP)},
    udp={(address, DNS_UDP.port): DNS_UDP for address in WEB.addresses},
    services={("default", "web"): WEB, ("default", "db"): HEADLESS},
)

CANDIDATES = tuple(EndpointState(endpoint, 0.0, lambda: None) for endpoint in ENDPOINTS)


def ask(question: TraceQuestion, verdict: Verdict | None = None) -> tuple[TraceAnswer, FlowFacts]:
    seen: list[FlowFacts] = []

    def preview(facts: FlowFacts, _: TracedRequest | None) -> Verdict:
        seen.append(facts)
        return verdict or Verdict(HTTP, CANDIDATES, "relay")

    answer = explain_call(SNAPSHOT, question, preview, NOT_LOOKED_AT)
    return answer, seen[0]


def test_a_service_that_the_data_plane_lacks_is_unknown() -> None:
    question = TraceQuestion("default", "nothing")
    answer = explain_call(SNAPSHOT, question, lambda *_: Verdict(None), ALL_PATHS)
    assert answer == TraceAnswer(7, known=False)


def test_the_first_port_is_meant_when_none_is_named() -> None:
    answer, facts = ask(TraceQuestion("default", "web", client="10.1.0.9"))
    assert answer.port is not None
    assert (answer.port.name, answer.port.address) == ("http", "10.96.0.1")
    assert answer.port.endpoints == ENDPOINTS
    assert answer.ports == (80, 53)
    assert facts == FlowFacts(Transport.TCP, ("10.1.0.9", 0), ("10.96.0.1", 80))


def test_a_number_means_the_first_port_that_has_it() -> None:
    _, facts = ask(TraceQuestion("default", "web", 53))
    assert facts.transport is Transport.UDP


@pytest.mark.parametrize(("ipv6", "address"), [(False, "10.96.0.1"), (True, "fd00:96::1")])
def test_the_address_is_of_the_family_that_was_asked_for(ipv6: bool, address: str) -> None:
    _, facts = ask(TraceQuestion("default", "web", 80, ipv6=ipv6))
    assert facts.destination == (address, 80)


def test_the_verdict_is_told() -> None:
    answer, _ = ask(TraceQuestion("default", "web", 80))
    assert (answer.candidates, answer.path, answer.refusal) == (ENDPOINTS, "relay", "")


def test_a_refusal_is_told() -> None:
    refused = Verdict(HTTP, refusal=Refusal.NO_ENDPOINT)
    answer, _ = ask(TraceQuestion("default", "web", 80), refused)
    assert (answer.candidates, answer.path, answer.refusal) == ((), "", "no-endpoint")


def test_where_a_route_leads_is_told_and_the_server_name_is_that_of_a_tls_client() -> None:
    v1 = ServicePort("default", "v1", "", Transport.TCP, 443, endpoints=ENDPOINTS[:1])
    upstream = Traffic(lambda: 0.0).upstream(v1)
    routed = Verdict(HTTP, CANDIDATES[:1], "relay", upstream=upstream, route="to v1")
    answer, facts = ask(TraceQuestion("default", "web", 80, server_name="A.example.org"), routed)
    assert (facts.application_protocol, facts.server_name) == ("tls", "a.example.org")
    assert answer.route == "to v1"
    assert answer.target is not None
    assert (answer.target.port, answer.target.endpoints) == (443, ENDPOINTS[:1])
    assert ask(TraceQuestion("default", "web", 80))[0].target is None


@pytest.mark.parametrize(
    "question",
    [TraceQuestion("default", "web", 81), TraceQuestion("default", "db", 80)],
    ids=["no such port", "no address to call"],
)
def test_nothing_is_decided_where_there_is_nothing_to_call(question: TraceQuestion) -> None:
    def preview(*_: object) -> Verdict:
        raise AssertionError

    answer = explain_call(SNAPSHOT, question, preview, NOT_LOOKED_AT)
    assert answer.known
    assert answer.candidates == ()


ROUTES = tuple(Route(f"HTTPRoute default/web rule {number}") for number in (0, 0, 1))
ROUTED = replace(HTTP, routes=ROUTES)


def test_it_is_told_how_many_rules_route_requests_of_which_none_is_named() -> None:
    answer, _ = ask(TraceQuestion("default", "web", 80), Verdict(ROUTED, CANDIDATES, "http"))
    assert answer.routes == 2


@pytest.mark.parametrize(
    ("path", "request_"), [("relay", None), ("http", TracedRequest())], ids=["relayed", "named"]
)
def test_rules_are_not_counted_where_nothing_is_left_to_be_decided(
    path: str, request_: TracedRequest | None
) -> None:
    question = TraceQuestion("default", "web", 80, request=request_)
    answer, _ = ask(question, Verdict(ROUTED, CANDIDATES, path))
    assert answer.routes == 0


@pytest.mark.parametrize(
    ("available", "path"), [(NOT_LOOKED_AT, "relay"), (ALL_PATHS, "connect")], ids=["none", "all"]
)
def test_the_path_is_the_best_that_works(available: AvailablePaths, path: str) -> None:
    relayed = Verdict(HTTP, CANDIDATES, "relay")
    question = TraceQuestion("default", "web", 80)
    assert explain_call(SNAPSHOT, question, lambda *_: relayed, available).path == path


def test_a_connection_is_not_told_to_be_of_http_before_it_says_so() -> None:
    retried = Verdict(replace(HTTP, policy=Policy(retries=Retries())), CANDIDATES, "relay")
    question = TraceQuestion("default", "web", 80)
    assert explain_call(SNAPSHOT, question, lambda *_: retried, ALL_PATHS).path == "relay"


def left_alone(snapshot: Snapshot, client: str = "", port: int = 80) -> str:
    question = TraceQuestion("default", "web", port, client)
    return explain_call(snapshot, question, lambda *_: Verdict(None), ALL_PATHS).left_alone


def test_a_call_that_the_agent_sees_to_is_not_left_alone() -> None:
    assert left_alone(SNAPSHOT) == left_alone(SNAPSHOT, port=53) == ""


def test_it_is_told_why_a_pod_is_not_intercepted() -> None:
    pods = {"10.1.0.7": PodIdentity("shop", "till", left_alone="label x of the Pod is disabled")}
    told = left_alone(replace(SNAPSHOT, pods=pods), "10.1.0.7")
    assert told == "Pod shop/till is not intercepted: label x of the Pod is disabled"


def test_it_is_told_that_only_pods_are_intercepted_that_opt_in() -> None:
    pods = {"10.1.0.7": PodIdentity("shop", "till")}
    callers = Callers(frozenset(pods), only_listed=True)
    snapshot = replace(SNAPSHOT, pods=pods, callers=callers)
    assert left_alone(snapshot, "10.1.0.7") == ""
    assert "proxy.intercept_default" in left_alone(snapshot)


def test_it_is_told_that_another_proxy_serves_a_service() -> None:
    assert "service-proxy-name" in left_alone(replace(SNAPSHOT, tcp={}))
