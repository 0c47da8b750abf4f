"""The ``tls`` and ``tcp`` rules of a VirtualService become routes of connections."""

from __future__ import annotations

from typing import Any

import pytest
from kube_bodies import Body, change, service
from policy_bodies import Shop, problems_of, read, to, virtual_service

from edgemesh.meta.snapshot import SnapshotBuilder
from edgemesh.model.routes import Backend, ConnectionRoute
from edgemesh.model.services import ServicePort, Source
from edgemesh.policy.objects.virtual_services import (
    backends_of,
    connection_routes_of,
    services_of,
)
from edgemesh.wire.kubernetes import decode
from edgemesh.wire.kubernetes.istio.virtual_service import VirtualService

SHOP = Shop()
TO_V1 = [to("v1")]
V1 = (Backend("default", "v1", 8080),)


def routes(port: ServicePort = SHOP.web, **spec: Any) -> tuple[ConnectionRoute, ...]:
    """Of an object in which nothing is wrong."""
    view = read(VirtualService, virtual_service(**spec))
    return connection_routes_of(view, port, SHOP.neighbours)


def tls(*names: str, **match: Any) -> Body:
    return {"match": [{"sniHosts": list(names), **match}], "route": TO_V1}


def tcp(**match: Any) -> Body:
    return {"match": [match], "route": TO_V1}


def test_tls_rules_are_by_server_name_and_come_before_tcp_rules() -> None:
    assert routes(tcp=[{"route": TO_V1}], tls=[tls("A.example.org", "*.B.org"), tls("c")]) == (
        ConnectionRoute(
            "VirtualService default/web tls rule 0",
            V1,
            server_names=("a.example.org", "*.b.org"),
        ),
        ConnectionRoute("VirtualService default/web tls rule 1", V1, server_names=("c",)),
        ConnectionRoute("VirtualService default/web tcp rule 0", V1),
    )


def test_tls_rules_may_be_for_those_who_offer_a_protocol() -> None:
    body = virtual_service(tls=[tls("a")], tcp=[{"route": TO_V1}])
    body["metadata"]["annotations"] = {"edgemesh.io/alpn": "h2"}
    view = read(VirtualService, body)
    found = connection_routes_of(view, SHOP.web, SHOP.neighbours)
    assert [route.alpn for route in found] == [("h2",), ()]


def test_each_match_of_a_rule_is_a_route() -> None:
    rule = {"match": [{"sniHosts": ["a"]}, {"sniHosts": ["b"]}], "route": TO_V1}
    assert [(route.key, route.server_names) for route in routes(tls=[rule])] == [
        ("VirtualService default/web tls rule 0", ("a",)),
        ("VirtualService default/web tls rule 0", ("b",)),
    ]


def test_who_calls_may_matter() -> None:
    match = {"sourceLabels": {"b": "2", "a": "1"}, "sourceNamespace": "shop"}
    for [route] in (routes(tls=[tls("a", **match)]), routes(tcp=[tcp(**match)])):
        assert route.source_labels == (("a", "1"), ("b", "2"))
        assert route.source_namespace == "shop"


@pytest.mark.parametrize(
    ("match", "possible"),
    [
        ({"port": 80}, True),
        ({"port": 81}, False),
        ({"gateways": ["mesh", "other"]}, True),
        ({"gateways": ["other"]}, False),
    ],
)
def test_a_match_may_be_for_one_port_or_for_a_gateway(match: Body, *, possible: bool) -> None:
    assert bool(routes(tls=[tls("a", **match)])) is possible
    assert bool(routes(tcp=[tcp(**match)])) is possible


def test_destinations_have_ports_subsets_and_weights() -> None:
    weighted = [
        {"destination": {"host": "web", "port": {"number": 81}}, "weight": 9},
        {"destination": {"host": "v2", "subset": "blue"}, "weight": 1},
        {"destination": {"host": "v2", "subset": "red"}},
        {"destination": {"host": "gone"}},
    ]
    [route] = routes(tcp=[{"route": weighted}])
    assert route.backends == (
        Backend("default", "web", 81, weight=9),
        Backend("default", "v2", 80, "blue"),
        Backend("default", "v2", 80, "red", 0, problem="Service default/v2 has no subset red"),
        Backend("default", "gone", 0, weight=0, problem="Service default/gone not found"),
    )


def test_a_virtual_service_for_another_host_is_for_connections_that_name_it() -> None:
    spec = {"hosts": ["Shop.example.org"], "tls": [tls("a.org")], "tcp": [{"route": [to("v2")]}]}
    view = read(VirtualService, virtual_service(**spec))
    assert services_of(view) == backends_of(view) == {("default", "v1"), ("default", "v2")}
    named, scoped = connection_routes_of(view, SHOP.web, SHOP.neighbours)
    assert named.server_names == ("a.org",)
    assert scoped.server_names == ("shop.example.org",)
    [any_host] = routes(hosts=["shop.example.org", "*"], tcp=[{"route": TO_V1}])
    assert any_host.server_names == ()


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (
            {"tls": [tls("a", destinationSubnets=["10.0.0.0/8"])]},
            "spec.tls[0].match[0].destinationSubnets: not supported, got a list",
        ),
        (
            {"tcp": [tcp(sourceSubnet="10.0.0.0/8")]},
            'spec.tcp[0].match[0].sourceSubnet: not supported, got "10.0.0.0/8"',
        ),
        (
            {"tcp": [tcp(port=0)]},
            "spec.tcp[0].match[0].port: expected an integer from 1 to 65535, got 0",
        ),
        (
            {"tls": [tls("a_b")]},
            "spec.tls[0].match[0].sniHosts[0]: expected a host name",
        ),
    ],
)
def test_a_condition_that_is_wrong_takes_its_rule_with_it(spec: Body, problem: str) -> None:
    body = virtual_service(**spec)
    of_condition, of_rule = problems_of(body)
    assert of_condition.startswith(problem)
    assert "match: expected an entry that can be used, got none; spec." in of_rule
    view = decode(body)
    assert isinstance(view, VirtualService)
    assert connection_routes_of(view, SHOP.web, SHOP.neighbours) == ()


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"tls": [{"route": TO_V1}]}, "spec.tls[0].match: required, but missing"),
        ({"tls": [{"match": [{}], "route": TO_V1}]}, "spec.tls[0].match[0].sniHosts: required"),
        ({"tls": [tls()]}, "spec.tls[0].match[0]: expected sniHosts, got none"),
        ({"tcp": [{}]}, "spec.tcp[0].route: required, but missing"),
        ({"tcp": [{"route": []}]}, "spec.tcp[0]: expected route, got none"),
    ],
)
def test_a_rule_that_says_too_little_is_told_and_passed_over(spec: Body, problem: str) -> None:
    body = virtual_service({"route": TO_V1}, **spec)
    assert problems_of(body)[0].startswith(problem)
    view = decode(body)
    assert isinstance(view, VirtualService)
    assert connection_routes_of(view, SHOP.web, SHOP.neighbours) == ()


@pytest.mark.parametrize(
    ("port", "keys"),
    [
        ({"port": 80}, ["tls", "tcp"]),
        ({"port": 80, "name": "https"}, ["tls", "tcp"]),
        ({"port": 80, "name": "tcp"}, ["tcp"]),
        ({"port": 80, "name": "http"}, []),
        ({"port": 80, "protocol": "UDP"}, []),
    ],
)
def test_what_a_port_declares_says_which_rules_it_has(port: Body, keys: list[str]) -> None:
    made = SnapshotBuilder("edge-1", Source.NODE)
    rules = virtual_service({"route": [to("web")]}, tls=[tls("a")], tcp=[{"route": TO_V1}])
    made.apply([change(service(ports=[port])), change(rules)])
    [found] = made.build(1).services["default", "web"].ports
    assert [route.key.split()[2] for route in found.connection_routes] == keys


def test_routes_of_several_objects_are_tried_by_what_they_say_of_the_name() -> None:
    made = SnapshotBuilder("edge-1", Source.NODE)
    objects = [
        virtual_service(name="any", tcp=[{"route": TO_V1}]),
        virtual_service(name="below", tls=[tls("*.example.org")]),
        virtual_service(name="exact", tls=[tls("a.example.org")]),
    ]
    made.apply([change(service()), *map(change, objects)])
    [port] = made.build(1).services["default", "web"].ports
    assert [route.key.split()[1] for route in port.connection_routes] == [
        "default/exact",
        "default/below",
        "default/any",
    ]
    made.apply([change(service("v1", clusterIP="10.96.0.11", ports=[{"port": 8080}]))])
    [port] = made.build(2).services["default", "web"].ports
    assert all(route.backends == V1 for route in port.connection_routes)
