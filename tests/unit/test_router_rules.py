"""Rules and RuleEndpoints: what the router makes of them, and what it refuses by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgemesh.model.policies import Quota
from edgemesh.model.router import RouterEndpoint, RouterRule, RuleEndpointType
from edgemesh.model.settings import ManifestLimits
from edgemesh.policy.router.rules import RouterProblem, router_endpoint, router_rule
from edgemesh.wire.kubernetes import decode_as
from edgemesh.wire.kubernetes.fields import FieldError
from edgemesh.wire.kubernetes.router_objects import Rule, RuleEndpoint
from edgemesh.wire.manifest import read_manifest

REAL = Path(__file__).parents[3] / "shared/manifests/kubeedge-router"


def endpoint_view(kind: str, name: str = "", **properties: str) -> RuleEndpoint:
    body = {
        "apiVersion": "rules.kubeedge.io/v1",
        "kind": "RuleEndpoint",
        "metadata": {"name": name or f"my-{kind}", "namespace": "default", "uid": f"uid-{kind}"},
        "spec": {"ruleEndpointType": kind, "properties": properties},
    }
    return decode_as(RuleEndpoint, body)


def rule_view(
    source: str,
    target: str,
    at_source: Any = None,
    at_target: Any = None,
    *,
    annotations: dict[str, str] | None = None,
) -> Rule:
    body = {
        "apiVersion": "rules.kubeedge.io/v1",
        "kind": "Rule",
        "metadata": {
            "name": "a-rule",
            "namespace": "default",
            "uid": "uid-rule",
            "annotations": annotations or {},
        },
        "spec": {
            "source": f"my-{source}",
            "sourceResource": {"path": "/source"} if at_source is None else at_source,
            "target": f"my-{target}",
            "targetResource": {"path": "/target"} if at_target is None else at_target,
        },
    }
    return decode_as(Rule, body)


ENDPOINTS = {
    (one.namespace, one.name): one
    for one in map(
        router_endpoint,
        (
            endpoint_view("rest"),
            endpoint_view("eventbus"),
            endpoint_view("servicebus", service_port="6666"),
            endpoint_view("service", service="web", port="80"),
        ),
    )
}


def test_a_rule_has_both_ends_and_their_resources() -> None:
    assert router_rule(rule_view("rest", "servicebus"), ENDPOINTS) == RouterRule(
        id="uid-rule",
        namespace="default",
        name="a-rule",
        source=ENDPOINTS["default", "my-rest"],
        target=RouterEndpoint(
            "uid-servicebus",
            "default",
            "my-servicebus",
            RuleEndpointType.SERVICEBUS,
            {"service_port": "6666"},
        ),
        source_resource={"path": "/source"},
        target_resource={"path": "/target"},
    )


def test_what_kubeedge_has_no_field_for_is_read_from_annotations() -> None:
    own = "rules.edgemesh.io/"
    annotations = {
        f"{own}qps": "2.5",
        f"{own}burst": "7",
        f"{own}project-id": "p",
        f"{own}domain-id": "d",
        f"{own}in-use": "false",
    }
    rule = router_rule(rule_view("rest", "servicebus", annotations=annotations), ENDPOINTS)
    assert isinstance(rule, RouterRule)
    assert rule.quota == Quota(2.5, 7)
    assert (rule.project_id, rule.domain_id, rule.in_use) == ("p", "d", False)
    assert str(rule) == "default/a-rule"


@pytest.mark.parametrize(("qps", "burst"), [("2.5", 2), ("0.1", 1)])
def test_without_a_burst_a_second_may_come_at_once(qps: str, burst: int) -> None:
    view = rule_view("rest", "servicebus", annotations={"rules.edgemesh.io/qps": qps})
    rule = router_rule(view, ENDPOINTS)
    assert isinstance(rule, RouterRule)
    assert rule.quota == Quota(float(qps), burst)


@pytest.mark.parametrize("qps", ["0", "-1", "many", "inf", "nan"])
def test_a_quota_that_is_none_is_refused(qps: str) -> None:
    with pytest.raises(FieldError, match=r"rules\.edgemesh\.io/qps"):
        rule_view("rest", "servicebus", annotations={"rules.edgemesh.io/qps": qps})


@pytest.mark.parametrize("port", ["", "0", "65536", "x", "-1", "८०"])
def test_a_servicebus_without_a_port_is_refused(port: str) -> None:
    with pytest.raises(FieldError, match="service_port: expected a port"):
        endpoint_view("servicebus", service_port=port)


def test_a_service_needs_a_name_and_may_have_a_port() -> None:
    with pytest.raises(FieldError, match=r"properties\.service: expected the name"):
        endpoint_view("service")
    with pytest.raises(FieldError, match=r"properties\.port: expected a port"):
        endpoint_view("service", service="web", port="http")
    assert endpoint_view("service", service="web").spec.properties == {"service": "web"}


@pytest.mark.parametrize(
    ("view", "problem"),
    [
        (rule_view("rest", "absent"), "spec.target: there is no RuleEndpoint default/my-absent"),
        (rule_view("absent", "rest"), "spec.source: there is no RuleEndpoint default/my-absent"),
        (rule_view("rest", "rest"), "spec.target: no rule leads from rest to rest"),
        (
            rule_view("rest", "servicebus", {}),
            "spec.sourceResource.path: is missing or empty",
        ),
        (
            rule_view("rest", "servicebus", None, {"path": ""}),
            "spec.targetResource.path: is missing or empty",
        ),
        (
            rule_view("eventbus", "rest", {"topic": "t"}, {"resource": "http://a"}),
            "spec.sourceResource.node_name: is missing or empty",
        ),
        *(
            (
                rule_view("eventbus", "rest", {"topic": "t", "node_name": "n"}, {"resource": url}),
                f'spec.targetResource.resource: expected an http or https URL, got "{url}"',
            )
            for url in ("ftp://a", "http://", "a.com", "http://a:0/", "http://a:x/", "http://[::1/")
        ),
    ],
)
def test_a_rule_without_effect_says_why(view: Rule, problem: str) -> None:
    found = router_rule(view, ENDPOINTS)
    assert isinstance(found, RouterProblem)
    assert str(found) == problem


def test_a_problem_that_another_object_may_solve_is_unresolved() -> None:
    absent = router_rule(rule_view("rest", "absent"), ENDPOINTS)
    lacking = router_rule(rule_view("rest", "servicebus", {}), ENDPOINTS)
    assert isinstance(absent, RouterProblem)
    assert isinstance(lacking, RouterProblem)
    assert (absent.resolved, lacking.resolved) == (False, True)


def test_a_service_to_a_service_needs_no_resources() -> None:
    rule = router_rule(rule_view("service", "service", {}, {}), ENDPOINTS)
    assert isinstance(rule, RouterRule)


def test_kubeedges_own_examples_make_three_rules() -> None:
    views = [
        decode_as(Rule if one.key.kind == "Rule" else RuleEndpoint, one.body)
        for path in sorted(REAL.glob("rule*.yaml"))
        for one in read_manifest(path.read_bytes(), path.name, ManifestLimits())
    ]
    endpoints = {
        (one.namespace, one.name): one
        for one in (router_endpoint(view) for view in views if isinstance(view, RuleEndpoint))
    }
    rules = [router_rule(view, endpoints) for view in views if isinstance(view, Rule)]
    kinds = {(r.source.type, r.target.type) for r in rules if isinstance(r, RouterRule)}
    assert len(kinds) == len(rules) == 3
