"""TLSRoutes and TCPRoutes become routes of the connections of the Services they are attached to."""

from __future__ import annotations

from typing import Any

import pytest
from kube_bodies import Body, change, service
from policy_bodies import Shop, backend, connection_route, problems_of, read, reference_grant

from edgemesh.meta.snapshot import SnapshotBuilder
from edgemesh.model.objects import ChangeType
from edgemesh.model.routes import Backend, ConnectionRoute
from edgemesh.model.services import ServicePort, Source
from edgemesh.policy.objects.gateway_connections import (
    backends_of,
    connection_routes_of,
    services_of,
)
from edgemesh.wire.kubernetes.gateway_api.connection_routes import TCPRoute, TLSRoute

SHOP = Shop()
TO_V1: Body = {"backendRefs": [backend("v1", 8080)]}
KINDS = ["TLSRoute", "TCPRoute"]


def view_of(body: Body) -> TLSRoute | TCPRoute:
    return read(TLSRoute if body["kind"] == "TLSRoute" else TCPRoute, body)


def routes(body: Body, port: ServicePort = SHOP.web) -> tuple[ConnectionRoute, ...]:
    """Of an object in which nothing is wrong."""
    return connection_routes_of(view_of(body), port, SHOP.neighbours)


def backends(*references: Body) -> tuple[Backend, ...]:
    [route] = routes(connection_route("TCPRoute", {"backendRefs": list(references)}))
    return route.backends


def test_a_tls_route_is_by_server_name() -> None:
    body = connection_route("TLSRoute", TO_V1, hostnames=["A.example.org", "*.b.org"])
    v1 = (Backend("default", "v1", 8080),)
    assert routes(body) == (
        ConnectionRoute(
            "TLSRoute default/web rule 0", v1, server_names=("a.example.org", "*.b.org")
        ),
    )


def test_a_tls_route_without_names_is_for_every_name_and_a_tcp_route_for_every_connection() -> None:
    assert routes(connection_route("TLSRoute", TO_V1))[0].server_names == ("*",)
    assert routes(connection_route("TCPRoute", TO_V1))[0].server_names == ()


@pytest.mark.parametrize(
    ("listed", "alpn"), [("h2", ("h2",)), ("h2, http/1.1", ("h2", "http/1.1")), ("", ("",))]
)
def test_a_tls_route_may_be_for_those_who_offer_a_protocol(
    listed: str, alpn: tuple[str, ...]
) -> None:
    for kind, expected in (("TLSRoute", alpn), ("TCPRoute", ())):
        body = connection_route(kind, TO_V1)
        body["metadata"]["annotations"] = {"edgemesh.io/alpn": listed}
        assert routes(body)[0].alpn == expected


@pytest.mark.parametrize("kind", KINDS)
def test_rules_are_routes_in_their_order(kind: str) -> None:
    found = routes(connection_route(kind, {**TO_V1, "name": "first"}, TO_V1))
    assert [route.key for route in found] == [
        f"{kind} default/web rule first",
        f"{kind} default/web rule 1",
    ]


@pytest.mark.parametrize("version", ["v1", "v1alpha3", "v1alpha2"])
def test_every_version_of_a_tls_route_is_read(version: str) -> None:
    body = connection_route("TLSRoute", TO_V1)
    body["apiVersion"] = f"gateway.networking.k8s.io/{version}"
    assert routes(body)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("parent", "attached"),
    [
        ({}, True),
        ({"port": 80}, True),
        ({"port": 81}, False),
        ({"sectionName": "http"}, True),
        ({"sectionName": "admin"}, False),
        ({"name": "v1"}, False),
        ({"kind": "Gateway"}, False),
    ],
)
def test_a_route_is_attached_to_a_service_or_to_one_port(
    kind: str, parent: Body, *, attached: bool
) -> None:
    parents = [{"kind": "Service", "name": "web", **parent}]
    assert bool(routes(connection_route(kind, TO_V1, parentRefs=parents))) is attached


@pytest.mark.parametrize("kind", KINDS)
def test_a_route_is_about_its_parents_and_leads_to_its_backends(kind: str) -> None:
    parents = [
        {"kind": "Service", "name": "web"},
        {"kind": "Service", "name": "a", "namespace": "b"},
        {"name": "gateway"},
    ]
    view = view_of(connection_route(kind, TO_V1, parentRefs=parents))
    assert services_of(view) == {("default", "web"), ("b", "a")}
    assert backends_of(view) == {("default", "v1")}


def test_a_route_of_another_namespace_is_for_the_callers_of_its_own() -> None:
    parents = [{"kind": "Service", "name": "web", "namespace": "default"}]
    body = connection_route("TLSRoute", TO_V1, parentRefs=parents)
    body["metadata"]["namespace"] = "shop"
    [route] = routes(body)
    assert route.source_namespace == "shop"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (backend("v2", weight=3), Backend("default", "v2", 80, weight=3)),
        (
            backend("gone", weight=0),
            Backend("default", "gone", 80, weight=0, problem="Service default/gone not found"),
        ),
        (
            {"name": "v1"},
            Backend("default", "v1", 0, problem="Service default/v1: port required, but missing"),
        ),
        (
            backend("x", kind="Bucket", group="s3.org"),
            Backend("default", "x", 80, problem="s3.org/Bucket x is no Service of Kubernetes"),
        ),
        (
            backend("v1", namespace="other"),
            Backend(
                "other",
                "v1",
                80,
                problem=(
                    "Service other/v1 is in another namespace, where no ReferenceGrant lets it "
                    "be referred to"
                ),
            ),
        ),
    ],
)
def test_a_backend_is_a_service_port_or_has_a_problem(reference: Body, expected: Backend) -> None:
    assert backends(reference) == (expected,)


def test_a_rule_without_backends_leads_nowhere() -> None:
    assert [each.problem for each in backends()] == ["the rule names no backend"]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"hostnames": ["a_b"]}, "spec.hostnames[0]: expected a host name"),
        ({"useDefaultGateways": "All"}, "spec.useDefaultGateways: not supported"),
        ({"typo": 1}, "spec.typo: unknown field, got 1"),
    ],
)
def test_what_is_wrong_is_told(spec: Any, problem: str) -> None:
    spec = {"hostnames": ["a"], **spec}
    with_two = {**spec, "hostnames": [*spec["hostnames"], "b"]}
    [told] = problems_of(connection_route("TLSRoute", TO_V1, **with_two))
    assert told.startswith(problem)


@pytest.mark.parametrize("kind", KINDS)
def test_a_route_comes_and_goes_with_its_object_and_its_backend(kind: str) -> None:
    made = SnapshotBuilder("edge-1", Source.NODE)
    body = connection_route(kind, {"backendRefs": [backend("v1", namespace="b")]})
    v1 = service("v1", clusterIP="10.96.0.11")
    v1["metadata"]["namespace"] = "b"
    made.apply([change(service(ports=[{"port": 443}])), change(body)])

    def found() -> tuple[ConnectionRoute, ...]:
        [port] = made.build(1).services["default", "web"].ports
        return port.connection_routes

    def problem() -> str:
        return found()[0].backends[0].problem

    assert "no ReferenceGrant" in problem()
    made.apply([change(reference_grant(namespace="b", kind=kind))])
    assert problem() == "Service b/v1 not found"
    made.apply([change(v1)])
    assert problem() == ""
    made.apply([change(body, ChangeType.DELETE)])
    assert found() == ()
