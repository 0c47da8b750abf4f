"""A policy object tells how it stands: what was passed over, and where it is in force."""

from __future__ import annotations

from typing import Any

import pytest
from kube_bodies import Body, change, destination_rule, service
from policy_bodies import (
    backend,
    connection_route,
    http_route,
    to,
    traffic_policy,
    virtual_service,
)

from edgemesh.meta.snapshot import SnapshotBuilder
from edgemesh.model.conditions import Condition
from edgemesh.model.objects import ChangeType, ObjectKey
from edgemesh.model.paths import ALL_PATHS, AvailablePaths
from edgemesh.model.services import Source

PORTS = [{"name": "http", "port": 80}, {"name": "https", "port": 443}]
TO_WEB: Any = {"backendRefs": [backend("web")]}
TLS_RULE = {"match": [{"sniHosts": ["a.org"]}], "route": [to("web")]}


def built(*bodies: Body) -> SnapshotBuilder:
    made = SnapshotBuilder("edge-1", Source.NODE)
    made.apply(change(body) for body in bodies)
    made.build(1)
    return made


def conditions(body: Body, *others: Body) -> dict[str, Condition]:
    """Those of an object beside the Service ``web`` and other objects."""
    metadata = body["metadata"]
    key = ObjectKey(body["kind"], metadata["namespace"], metadata["name"])
    found = built(service(ports=PORTS), body, *others).conditions(key)
    return {condition.type: condition for condition in found}


def outcome(body: Body, *others: Body) -> tuple[bool, str, str]:
    """Whether it was accepted, why, and in which words."""
    found = conditions(body, *others)
    accepted = found["Accepted"]
    assert found["Programmed"].status is accepted.status
    return accepted.status, accepted.reason, accepted.message


@pytest.mark.parametrize(
    ("body", "ports"),
    [
        (traffic_policy(), "default/web:80, default/web:443"),
        (
            traffic_policy(targetRef={"kind": "Service", "name": "web", "port": 80}),
            "default/web:80",
        ),
        (destination_rule("web", "x"), "default/web:80, default/web:443"),
        (destination_rule("rule", "web"), "default/web:80, default/web:443"),
        (http_route(TO_WEB), "default/web:80"),
        (virtual_service({"route": [to("web")]}), "default/web:80"),
        (virtual_service({"route": [to("web")]}, hosts=["shop.org"]), "default/web:80"),
        (connection_route("TLSRoute", TO_WEB, hostnames=["a.org"]), "default/web:443"),
        (connection_route("TCPRoute", TO_WEB), "default/web:443"),
        (virtual_service(tls=[TLS_RULE]), "default/web:443"),
        (
            virtual_service({"route": [to("web")]}, tls=[TLS_RULE]),
            "default/web:80, default/web:443",
        ),
    ],
)
def test_an_object_that_is_right_is_accepted_and_in_force(body: Body, ports: str) -> None:
    found = conditions(body)
    assert found["Accepted"] == Condition("Accepted", True, "Accepted")
    assert found["Programmed"] == Condition(
        "Programmed", True, "Programmed", f"in force at {ports}"
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (traffic_policy(path=5), "spec.path: expected one of"),
        (
            traffic_policy(qps={"client": {"rate": "x"}}, retries={"attempts": -1}),
            'spec.qps.client.rate: expected a number above 0, got "x"; spec.qps.client is ',
        ),
        (http_route({**TO_WEB, "typo": 1}), "spec.rules[0].typo: unknown field, got 1"),
        (
            virtual_service({"route": [to("web")], "fault": {}}),
            "spec.http[0].fault: not supported, got a mapping; ignored",
        ),
    ],
)
def test_wrong_fields_are_named_and_the_rest_is_in_force(body: Body, field: str) -> None:
    status, reason, message = outcome(body)
    assert (status, reason) == (True, "PartiallyInvalid")
    assert message.startswith(field)


@pytest.mark.parametrize(
    ("body", "reason", "message"),
    [
        (
            traffic_policy(targetRef={"kind": "Service", "name": "x"}),
            "TargetNotFound",
            "Service default/x not found",
        ),
        (
            traffic_policy(targetRef={"kind": "Service", "name": "web", "port": 81}, path=5),
            "TargetNotFound",
            (
                "Service default/web has no such port; spec.path: expected one of auto, connect, "
                "splice, relay, http, got 5; ignored"
            ),
        ),
        (
            destination_rule("rule", "x"),
            "TargetNotFound",
            "Service default/rule or default/x not found",
        ),
        (
            http_route(TO_WEB, parentRefs=[{"kind": "Service", "name": "x"}]),
            "TargetNotFound",
            "Service default/x not found",
        ),
        (
            http_route(TO_WEB, parentRefs=[{"name": "gw"}]),
            "NoMatchingParent",
            "spec.parentRefs: expected a parent of kind Service, got Gateway gw",
        ),
        (
            connection_route("TLSRoute", TO_WEB, parentRefs=[{"name": "gw"}]),
            "NoMatchingParent",
            "spec.parentRefs: expected a parent of kind Service, got Gateway gw",
        ),
        (
            connection_route("TCPRoute", TO_WEB, parentRefs=[{"kind": "Service", "name": "x"}]),
            "TargetNotFound",
            "Service default/x not found",
        ),
        (
            connection_route(
                "TCPRoute", TO_WEB, parentRefs=[{"kind": "Service", "name": "web", "port": 80}]
            ),
            "NoMatchingParent",
            "no rule of it is for default/web:443",
        ),
        (
            http_route(TO_WEB, parentRefs=[]),
            "NoMatchingParent",
            "spec.parentRefs: expected a parent of kind Service, got none",
        ),
        (
            http_route(TO_WEB, parentRefs=[{"kind": "Service", "name": "web", "port": 443}]),
            "UnsupportedProtocol",
            "default/web:443 declares tls",
        ),
        (
            http_route(parentRefs=[{"kind": "Service", "name": "web"}]),
            "NoMatchingParent",
            "no rule of it is for default/web:443",
        ),
        (
            virtual_service({"route": [to("web")]}, gateways=["gw"]),
            "NoMatchingParent",
            (
                "spec.gateways: the mesh is not among them; spec.gateways[0]: expected one of "
                'mesh, got "gw"; ignored'
            ),
        ),
        (
            virtual_service(tls=[{**TLS_RULE, "match": [{"sniHosts": ["a"], "port": 80}]}]),
            "NoMatchingParent",
            "no rule of it is for default/web:443",
        ),
        (
            virtual_service({"route": [to("web")]}, hosts=["x"]),
            "TargetNotFound",
            "Service default/x not found",
        ),
    ],
)
def test_an_object_that_is_in_force_nowhere_says_why(body: Body, reason: str, message: str) -> None:
    assert outcome(body) == (False, reason, message)


def test_an_object_that_another_overrules_names_it() -> None:
    old = traffic_policy("old", "2026-01-01T00:00:00Z")
    young = traffic_policy("young", "2026-01-02T00:00:00Z")
    overruled = (False, "Conflicted", "TrafficPolicy default/old is in force instead")
    assert outcome(young, old) == overruled
    assert outcome(old, young)[0] is True
    rule = destination_rule("rule", "web")
    assert outcome(rule, destination_rule("web", "web")) == (
        False,
        "Conflicted",
        "DestinationRule default/web is in force instead",
    )


def test_a_rule_of_a_service_without_ports_is_in_force_nowhere() -> None:
    headless = service("db", clusterIP="None", ports=[])
    assert outcome(destination_rule("db", "db"), headless) == (
        False,
        "TargetNotFound",
        "Service default/db has no ports",
    )


@pytest.mark.parametrize(
    "body",
    [
        http_route({"backendRefs": [backend("x"), backend("web")]}),
        connection_route("TLSRoute", {"backendRefs": [backend("x"), backend("web")]}),
        virtual_service({"route": [to("x", weight=1), to("web", weight=1)]}),
    ],
)
def test_a_backend_that_is_missing_is_a_reference_that_is_not_resolved(body: Body) -> None:
    kind = body["kind"]
    assert conditions(body)["ResolvedRefs"] == Condition(
        "ResolvedRefs",
        False,
        "BackendNotFound",
        f"{kind} default/web rule 0: Service default/x not found",
    )
    found = conditions(body, service("x", clusterIP="10.96.0.12"))
    assert found["ResolvedRefs"] == Condition("ResolvedRefs", True, "ResolvedRefs")


def test_policies_without_routes_say_nothing_about_references() -> None:
    assert set(conditions(traffic_policy())) == {"Accepted", "Programmed"}
    assert set(conditions(destination_rule("web", "web"))) == {"Accepted", "Programmed"}


def honoured(path: str, available: AvailablePaths, **spec: Any) -> Condition:
    body = traffic_policy(path=path, **spec)
    key = ObjectKey("TrafficPolicy", "default", body["metadata"]["name"])
    ports = [{"name": "tcp-a", "port": 80}, {"name": "tcp-b", "port": 443}]
    [*_, found] = built(service(ports=ports), body).conditions(key, available)
    return found


@pytest.mark.parametrize("path", ["connect", "splice", "relay", "auto"])
def test_a_path_that_is_taken_is_honoured(path: str) -> None:
    expected = Condition("PathHonoured", True, "PathHonoured")
    assert honoured(path, ALL_PATHS) == expected


def test_a_path_that_works_not_here_is_not_honoured() -> None:
    available = AvailablePaths("no cgroup v2 here", "", "")
    because = "takes splice: connect: no cgroup v2 here"
    message = f"default/web:80 {because}; default/web:443 {because}"
    expected = Condition("PathHonoured", False, "OtherPath", message)
    assert honoured("connect", available) == expected


def test_a_path_that_cannot_do_the_rest_is_not_honoured() -> None:
    quota = {"client": {"rate": 1, "per": "source"}}
    found = honoured("connect", ALL_PATHS, qps=quota)
    assert "takes splice: connect: the quota is by source" in found.message


def test_what_is_in_force_nowhere_takes_no_path() -> None:
    target = {"kind": "Service", "name": "web", "port": 81}
    assert honoured("connect", ALL_PATHS, targetRef=target).type == "Programmed"


def test_an_object_that_cannot_be_decoded_is_not_accepted() -> None:
    assert outcome(traffic_policy(targetRef={})) == (
        False,
        "Invalid",
        "spec.targetRef.kind: required, but missing",
    )


def test_conditions_follow_the_objects() -> None:
    key = ObjectKey("TrafficPolicy", "default", "web")
    made = built(traffic_policy())
    assert made.conditions(key)[0].reason == "TargetNotFound"
    made.apply([change(service())])
    made.build(2)
    assert made.conditions(key)[0].reason == "Accepted"
    made.apply([change(traffic_policy(), ChangeType.DELETE)])
    assert made.conditions(key) == ()


def test_a_condition_is_written_as_kubernetes_writes_it() -> None:
    assert Condition("Accepted", False, "Invalid", "why").body() == {
        "type": "Accepted",
        "status": "False",
        "reason": "Invalid",
        "message": "why",
    }
    assert Condition("Accepted", True, "Accepted").body()["status"] == "True"


def observed(protocol: str, **spec: Any) -> Condition:
    """What is said of a policy that asks to observe a port of this protocol."""
    body = traffic_policy(observe="http", **spec)
    key = ObjectKey("TrafficPolicy", "default", body["metadata"]["name"])
    ports = [{"name": "a", "port": 80, "appProtocol": protocol}]
    [*_, found] = built(service(ports=ports), body).conditions(key, ALL_PATHS)
    return found


def test_requests_that_are_observed_are_as_asked() -> None:
    found = observed("http", path="splice")
    assert found == Condition("PathHonoured", True, "PathHonoured")


@pytest.mark.parametrize(
    ("protocol", "spec", "because"),
    [
        ("http", {"path": "relay"}, "is not observed: it takes no TCP by path splice"),
        ("http", {}, "is not observed: it takes no TCP by path splice"),
        ("tcp", {"path": "splice"}, "is not observed: it declares tcp"),
        (
            "http",
            {"path": "splice", "retries": {"attempts": 1}},
            "takes http: splice: requests are repeated",
        ),
    ],
)
def test_requests_that_are_not_observed_are_told(
    protocol: str, spec: dict[str, Any], because: str
) -> None:
    expected = Condition("PathHonoured", False, "OtherPath", f"default/web:80 {because}")
    assert observed(protocol, **spec) == expected
