"""What the agent answers becomes hops, and hops become a page that names the first that fails."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgemesh.app.trace.call import Agent, Call, Caller, Hop, HopState, parse_request, parse_service
from edgemesh.app.trace.connections import endpoint_hop
from edgemesh.app.trace.knowledge import (
    agent_hop,
    decision_hop,
    endpoints_hop,
    server_hop,
    service_hop,
)
from edgemesh.cli.trace_page import first_failure, trace_page
from edgemesh.model.errors import OperatorError
from edgemesh.model.services import Endpoint
from edgemesh.model.settings import Settings
from edgemesh.model.trace import TraceAnswer, TracedPort, TracedRequest

ENDPOINTS = (Endpoint("10.1.0.1", 8080, pod="default/web-1"), Endpoint("fd00::2", 8080))
PORT = TracedPort(80, "http", "TCP", 0, "http", "round_robin", "node", "10.96.0.1", ENDPOINTS)
ANSWER = TraceAnswer(
    7,
    known=True,
    type="ClusterIP",
    addresses=("10.96.0.1",),
    ports=(80, 53),
    port=PORT,
    candidates=ENDPOINTS,
    path="relay",
)
AGENT = Agent(Settings(), Path("/run/edgemesh/meta.sock"))


def call(answer: TraceAnswer | None = ANSWER, *, ipv6: bool = False, problem: str = "") -> Call:
    return Call(AGENT, "default", "web", ipv6, Caller(), answer, problem)


def test_a_call_that_works_is_told_hop_by_hop() -> None:
    hops = [hop(call()) for hop in (agent_hop, service_hop, endpoints_hop, decision_hop)]
    assert trace_page(hops).splitlines() == [
        "agent      ok         answers on /run/edgemesh/meta.sock, revision 7",
        "service    ok         default/web: ClusterIP 10.96.0.1, port 80/TCP, http",
        "endpoints  ok         2: 10.1.0.1:8080 (default/web-1), [fd00::2]:8080",
        (
            "decision   ok         10.1.0.1:8080 (default/web-1) next, then [fd00::2]:8080; "
            "round_robin, path relay, it sees the node's address"
        ),
        "the call works",
    ]


def test_a_call_by_the_bus_is_told_with_its_way() -> None:
    there = (dataclasses.replace(ENDPOINTS[0], node="node-b"),)
    by_link = dataclasses.replace(ANSWER, candidates=there, ways={"node-b": "link to node-b"})
    assert decision_hop(call(by_link)).detail == (
        "10.1.0.1:8080 (default/web-1) next by link to node-b; round_robin, path relay, "
        "it sees its node's address"
    )


async def test_endpoints_that_are_reached_by_the_bus_are_not_dialled() -> None:
    there = (dataclasses.replace(ENDPOINTS[0], node="node-b"),)
    port = dataclasses.replace(PORT, endpoints=there)
    by_link = dataclasses.replace(ANSWER, port=port, ways={"node-b": "link to node-b"})
    hop = await endpoint_hop(call(by_link))
    assert (hop.state, hop.detail) == (HopState.SKIPPED, "reached by link to node-b only")


def test_a_routed_call_is_told_by_where_its_route_leads() -> None:
    v1 = (Endpoint("10.1.0.9", 8443),)
    target = TracedPort(443, "", "TCP", 0, "", "random", "preserve", "", v1)
    routed = dataclasses.replace(
        ANSWER,
        port=dataclasses.replace(PORT, endpoints=()),
        candidates=v1,
        route="TLSRoute default/web rule 0",
        target=target,
    )
    assert endpoints_hop(call(routed)).detail == "1: 10.1.0.9:8443"
    assert decision_hop(call(routed)).detail == (
        "10.1.0.9:8443 next by TLSRoute default/web rule 0; random, path relay, "
        "it sees the client's address"
    )
    refused = dataclasses.replace(routed, candidates=(), refusal="no-backend", target=None)
    hop = decision_hop(call(refused))
    assert hop.detail == "the call is refused: no-backend by TLSRoute default/web rule 0"
    assert hop.remedy.startswith("edgemesh get")


def test_an_agent_that_does_not_answer_fails_first_and_the_rest_is_skipped() -> None:
    silent = call(None, problem="no agent answers")
    assert agent_hop(silent).state is HopState.FAILED
    for hop in (service_hop, endpoints_hop, decision_hop):
        assert hop(silent).state is HopState.SKIPPED


@pytest.mark.parametrize(
    ("answer", "detail", "remedy"),
    [
        (TraceAnswer(7, known=False), "default/web is unknown", "edgemesh apply"),
        (dataclasses.replace(ANSWER, port=None), "no such port", "it has: 80, 53"),
        (dataclasses.replace(ANSWER, port=None, ports=()), "no such port", "it has: none"),
    ],
    ids=["unknown", "another port", "no port"],
)
def test_a_service_that_cannot_be_called_fails(
    answer: TraceAnswer, detail: str, remedy: str
) -> None:
    hop = service_hop(call(answer))
    assert hop.state is HopState.FAILED
    assert detail in hop.detail
    assert remedy in hop.remedy


def test_a_service_without_an_address_of_the_family_fails() -> None:
    hop = service_hop(call(ipv6=True))
    assert (hop.state, hop.detail) == (HopState.FAILED, "default/web has no IPv6 address")


def test_an_alias_is_told_to_be_one() -> None:
    alias = TraceAnswer(7, known=True, type="ExternalName", external_name="example.org")
    hop = service_hop(call(alias))
    assert hop.state is HopState.OK
    assert "alias of example.org" in hop.detail


def test_a_headless_service_has_endpoints_and_no_decision() -> None:
    port = dataclasses.replace(PORT, address="", application_protocol="")
    headless = dataclasses.replace(ANSWER, headless=True, addresses=(), port=port, candidates=())
    told = service_hop(call(headless)).detail
    assert told == "default/web: headless, port 80/TCP, protocol not declared"
    assert endpoints_hop(call(headless)).state is HopState.OK
    assert decision_hop(call(headless)).state is HopState.SKIPPED


def test_no_endpoint_fails_with_the_pods_to_look_at() -> None:
    port = dataclasses.replace(PORT, endpoints=())
    hop = endpoints_hop(call(dataclasses.replace(ANSWER, port=port)))
    assert hop.state is HopState.FAILED
    assert "edgemesh get pods -n default" in hop.remedy


def test_a_refusal_fails_with_its_reason() -> None:
    refused = dataclasses.replace(ANSWER, candidates=(), path="", refusal="no-endpoint")
    hop = decision_hop(call(refused))
    assert hop.state is HopState.FAILED
    assert "no-endpoint" in hop.detail
    assert hop.remedy


def test_rules_that_route_each_request_are_counted() -> None:
    hop = decision_hop(call(dataclasses.replace(ANSWER, path="http", routes=2)))
    assert hop.state is HopState.OK
    assert hop.detail == (
        "each request is routed by itself, by 2 rules: --request 'GET /' tells of one; path http"
    )


def test_a_route_that_answers_by_itself_is_told() -> None:
    answer = dataclasses.replace(ANSWER, path="http", candidates=(), route="HTTPRoute a/b rule 0")
    hop = decision_hop(call(answer))
    assert hop.detail == "answered by HTTPRoute a/b rule 0 itself; path http"


def test_the_source_that_the_endpoint_sees_is_told() -> None:
    port = dataclasses.replace(PORT, source="preserve")
    hop = decision_hop(call(dataclasses.replace(ANSWER, port=port, candidates=ENDPOINTS[:1])))
    assert hop.detail == (
        "10.1.0.1:8080 (default/web-1) next; round_robin, path relay, it sees the client's address"
    )


def test_an_endpoint_sees_who_is_balanced_when_it_connects() -> None:
    hop = decision_hop(call(dataclasses.replace(ANSWER, path="connect")))
    assert hop.detail.endswith("path connect, it sees the client's address")


def test_the_page_ends_with_the_first_failure_and_its_remedy() -> None:
    hops = [
        Hop("name", HopState.OK, "fine"),
        Hop("rule", HopState.FAILED, "nothing is installed", "install it"),
        Hop("call", HopState.FAILED, "refused", "see above"),
    ]
    assert first_failure(hops) is hops[1]
    assert trace_page(hops).splitlines()[-1] == "the call fails at 'rule': install it"


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("web", ("default", "web", 0)),
        ("web:80", ("default", "web", 80)),
        ("web.shop:65535", ("shop", "web", 65535)),
        ("web.shop.svc.cluster.local", ("shop", "web", 0)),
    ],
)
def test_a_service_may_be_named_shortly_or_in_full(text: str, parsed: tuple[str, str, int]) -> None:
    assert parse_service(text, "default") == parsed


@pytest.mark.parametrize("text", ["", ":80", "web:", "web:http", "web:0", "web:65536", ".shop"])
def test_what_names_no_service_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(OperatorError, match="is no Service"):
        parse_service(text, "default")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("/", TracedRequest(host="web")),
        ("GET /orders?n=1", TracedRequest("GET", "web", "/orders", "n=1")),
        ("post http://Shop:80/orders", TracedRequest("POST", "shop", "/orders")),
        ("http://shop", TracedRequest(host="shop")),
    ],
)
def test_a_request_may_be_named_shortly_or_in_full(text: str, parsed: TracedRequest) -> None:
    assert parse_request(text, (), "web") == parsed


def test_headers_alone_mean_the_root() -> None:
    wanted = TracedRequest(host="web", headers=(("x-user", "jane"), ("x-empty", "")))
    assert parse_request("", ("X-User: jane", "x-empty: "), "web") == wanted
    assert parse_request("", (), "web") is None


@pytest.mark.parametrize("text", ["GET", "orders", "ftp://shop/", "http://[", "GET orders"])
def test_what_is_no_request_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(OperatorError, match="is no request"):
        parse_request(text, (), "web")


@pytest.mark.parametrize("header", ["x-user", ": jane", "x-user:"])
def test_what_is_no_header_is_refused_in_one_line(header: str) -> None:
    with pytest.raises(OperatorError, match="is no header"):
        parse_request("", (header,), "web")


@pytest.mark.parametrize(
    ("node", "detail"),
    [
        ("edge-1", "10.1.0.3:80 gets 5/s burst 5, whoever calls: this node sees to it"),
        ("edge-2", "10.1.0.3:80 gets 5/s burst 5, whoever calls: edge-2 sees to it"),
        ("", "10.1.0.3:80 gets 5/s burst 5, but nobody sees to it: no node is known to run it"),
    ],
)
def test_who_limits_what_the_endpoint_gets_is_told(node: str, detail: str) -> None:
    limited = dataclasses.replace(
        ANSWER,
        node="edge-1",
        server="5/s burst 5",
        candidates=(Endpoint("10.1.0.3", 80, node=node),),
    )
    hop = server_hop(call(limited))
    assert (hop.state, hop.detail) == (HopState.OK, detail)
    headless = dataclasses.replace(
        limited, candidates=(), port=dataclasses.replace(PORT, endpoints=limited.candidates)
    )
    assert server_hop(call(headless)) == hop


def test_where_nothing_is_limited_no_server_is_told() -> None:
    assert server_hop(call()).detail == "gets whatever calls there are"
    nobody = dataclasses.replace(ANSWER, server="5/s", candidates=(), port=None)
    for answer in (None, nobody):
        assert server_hop(call(answer)).state is HopState.SKIPPED
