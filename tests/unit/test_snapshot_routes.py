"""Routes of the snapshot follow their objects and the Services that they lead to."""

from __future__ import annotations

import pytest
from kube_bodies import Body, change, destination_rule, endpoint, endpoint_slice, service
from policy_bodies import backend, http_route, reference_grant, to, traffic_policy, virtual_service

from edgemesh.meta.snapshot import SnapshotBuilder
from edgemesh.model.objects import ChangeType
from edgemesh.model.services import ServicePort, Source

WEB = ("10.96.0.10", 80)


def v1() -> Body:
    return service("v1", clusterIP="10.96.0.11")


def builder(*bodies: Body) -> SnapshotBuilder:
    made = SnapshotBuilder("edge-1", Source.NODE)
    made.apply(change(body) for body in (service(), *bodies))
    return made


def web(made: SnapshotBuilder) -> ServicePort:
    return made.build(1).tcp[WEB]


def keys(made: SnapshotBuilder) -> list[str]:
    return [route.key for route in web(made).routes]


def test_a_route_comes_changes_and_goes() -> None:
    made = builder(v1())
    assert web(made).routes == ()
    made.apply([change(http_route({"backendRefs": [backend("v1")]}))])
    assert keys(made) == ["HTTPRoute default/web rule 0"]
    made.apply([change(http_route({"name": "a", "backendRefs": [backend("v1")]}))])
    assert keys(made) == ["HTTPRoute default/web rule a"]
    made.apply([change(http_route({}), ChangeType.DELETE)])
    assert web(made).routes == ()


def test_a_virtual_service_comes_and_goes() -> None:
    body = virtual_service({"route": [to("v1")]})
    made = builder(v1(), body)
    assert keys(made) == ["VirtualService default/web rule 0"]
    made.apply([change(body, ChangeType.DELETE)])
    assert keys(made) == []


@pytest.mark.parametrize("kind", ["HTTPRoute", "VirtualService"])
def test_a_backend_is_looked_for_again_when_its_service_changes(kind: str) -> None:
    body = (
        http_route({"backendRefs": [backend("v1")]})
        if kind == "HTTPRoute"
        else virtual_service({"route": [to("v1", weight=1)]})
    )
    made = builder(body)

    def problem() -> str:
        return web(made).routes[0].backends[0].problem

    assert problem() == "Service default/v1 not found"
    made.apply([change(v1())])
    assert problem() == ""
    before = web(made)
    made.apply([change(endpoint_slice(endpoint("10.0.0.9"), service_name="v1"))])
    assert web(made) is before
    made.apply([change(v1(), ChangeType.DELETE)])
    assert problem() == "Service default/v1 not found"


def test_a_subset_is_looked_for_again_when_its_rule_changes() -> None:
    destination = {"host": "v1", "subset": "blue"}
    made = builder(v1(), virtual_service({"route": [{"destination": destination}]}))
    [found] = web(made).routes[0].backends
    assert found.problem == "Service default/v1 has no subset blue"
    rule = destination_rule("rule", "v1")
    rule["spec"]["subsets"] = [{"name": "blue", "labels": {"colour": "blue"}}]
    made.apply([change(rule)])
    assert web(made).routes[0].backends[0].problem == ""
    made.apply([change(rule, ChangeType.DELETE)])
    assert web(made).routes[0].backends[0].problem == "Service default/v1 has no subset blue"


def test_routes_of_several_objects_are_tried_in_the_order_of_the_gateway_api() -> None:
    def on_path(name: str, path: str, created: str) -> Body:
        rule = {"matches": [{"path": {"value": path}}], "backendRefs": [backend("v1")]}
        return http_route(rule, name=name, created=created)

    made = builder(
        v1(),
        on_path("young", "/a", "2026-01-02T00:00:00Z"),
        on_path("old", "/a", "2026-01-01T00:00:00Z"),
        on_path("long", "/a/b", "2026-01-03T00:00:00Z"),
    )
    assert keys(made) == [f"HTTPRoute default/{name} rule 0" for name in ("long", "old", "young")]


def test_a_virtual_service_keeps_its_own_order() -> None:
    rules = [
        {"name": name, "match": [{"uri": {"prefix": path}}], "route": [to("v1")]}
        for name, path in (("short", "/a"), ("long", "/a/b"))
    ]
    assert keys(builder(v1(), virtual_service(*rules))) == [
        "VirtualService default/web rule short",
        "VirtualService default/web rule long",
    ]


def test_a_route_of_another_port_is_none_of_this_one() -> None:
    parents = [{"group": "", "kind": "Service", "name": "web", "port": 81}]
    assert keys(builder(http_route({"backendRefs": [backend("web")]}, parentRefs=parents))) == []


def test_requests_for_the_services_own_name_pass_by_routes_for_another_host() -> None:
    body = virtual_service({"route": [to("web")]}, hosts=["shop.example.org"])
    assert keys(builder(body)) == ["VirtualService default/web rule 0", "Service default/web"]
    own = virtual_service({"route": [to("web")]}, name="own")
    assert keys(builder(body, own)) == [
        "VirtualService default/web rule 0",
        "VirtualService default/own rule 0",
    ]
    attached = http_route({"backendRefs": [backend("web")]}, name="own")
    assert "Service default/web" not in keys(builder(body, attached))


@pytest.mark.parametrize(
    ("port", "routed"),
    [
        ({"port": 80}, True),
        ({"port": 80, "name": "http-0"}, True),
        ({"port": 80, "appProtocol": "kubernetes.io/h2c"}, True),
        ({"port": 80, "name": "grpc"}, True),
        ({"port": 80, "name": "https"}, False),
        ({"port": 80, "appProtocol": "redis"}, False),
        ({"port": 80, "protocol": "UDP"}, False),
    ],
)
def test_only_ports_that_may_speak_http_have_routes(port: Body, *, routed: bool) -> None:
    made = SnapshotBuilder("edge-1", Source.NODE)
    route = http_route({"backendRefs": [backend("web")]})
    made.apply([change(service(ports=[port])), change(route)])
    [found] = made.build(1).services["default", "web"].ports
    assert bool(found.routes) is routed


def test_retries_of_a_route_build_on_the_policy_of_its_port() -> None:
    made = builder(
        traffic_policy(retries={"attempts": 7}),
        http_route({"timeouts": {"backendRequest": "1s"}, "backendRefs": [backend("web")]}),
    )
    retries = web(made).routes[0].retries
    assert retries is not None
    assert (retries.attempts, retries.per_try_seconds) == (7, 1.0)


@pytest.mark.parametrize(
    ("grant", "granted"),
    [
        (reference_grant(), True),
        (reference_grant("v1"), True),
        (reference_grant("v2"), False),
        (reference_grant(namespace="default"), False),
        (reference_grant(kind="GRPCRoute"), False),
        (reference_grant(namespace="shop"), False),
        (reference_grant(group=""), False),
    ],
)
def test_a_route_leads_to_another_namespace_where_a_grant_lets_it(
    grant: Body, *, granted: bool
) -> None:
    there = service("v1", "other", clusterIP="10.96.0.12")
    made = builder(there, http_route({"backendRefs": [backend("v1", namespace="other")]}))
    refused = (
        "Service other/v1 is in another namespace, where no ReferenceGrant lets it be referred to"
    )

    def problem() -> str:
        return web(made).routes[0].backends[0].problem

    assert problem() == refused
    made.apply([change(grant)])
    assert problem() == ("" if granted else refused)
    made.apply([change(grant, ChangeType.DELETE)])
    assert problem() == refused
    made.apply([change(grant, ChangeType.DELETE)])


def test_a_grant_for_another_kind_of_object_grants_nothing() -> None:
    grant = reference_grant()
    grant["spec"]["to"] = [{"group": "", "kind": "Secret"}]
    there = service("v1", "other", clusterIP="10.96.0.12")
    route = http_route({"backendRefs": [backend("v1", namespace="other")]})
    assert web(builder(there, route, grant)).routes[0].backends[0].problem
