"""A DestinationRule becomes the policy of the Service that it is about, and of its subsets."""

from __future__ import annotations

from typing import Any

import pytest
from kube_bodies import Body, destination_rule
from policy_bodies import problems_of, read

from edgemesh.model.policies import (
    DEFAULT_POLICY,
    Balance,
    Balancing,
    Breaker,
    HashKey,
    HashSource,
    Limits,
    Locality,
    Policy,
    Timeouts,
)
from edgemesh.policy.objects.destination_rules import (
    named_service,
    rule_for,
    services_of,
    subsets_of,
    with_rule,
)
from edgemesh.wire.kubernetes import FieldError, decode
from edgemesh.wire.kubernetes.istio.destination_rule import DestinationRule


def rule(*, subsets: Any = (), **traffic: Any) -> Body:
    body = destination_rule("web", "web")
    body["spec"] = {"host": "web", "trafficPolicy": traffic, "subsets": list(subsets)}
    return body


def policy_of(port: int = 80, base: Policy = DEFAULT_POLICY, **traffic: Any) -> Policy:
    return with_rule(base, read(DestinationRule, rule(**traffic)), port)


@pytest.mark.parametrize(
    "host", ["web", "web.default", "web.default.svc", "web.default.svc.cluster.local"]
)
def test_a_host_names_a_service_short_or_in_full(host: str) -> None:
    assert named_service(host, "default") == "web"


@pytest.mark.parametrize("host", ["web.other", "web.default.pod", "web.example.org", ""])
def test_another_host_names_none(host: str) -> None:
    assert named_service(host, "default") == ""


def test_a_rule_is_about_the_service_of_its_name_and_that_of_its_host() -> None:
    by_host = read(DestinationRule, destination_rule("rule", "web"))
    assert services_of(by_host) == {("default", "rule"), ("default", "web")}
    foreign = read(DestinationRule, destination_rule("rule", "web.example.org"))
    assert services_of(foreign) == {("default", "rule")}


def test_the_rule_of_the_services_name_counts_then_the_first_by_name() -> None:
    rules = {
        name: read(DestinationRule, destination_rule(name, "web")) for name in ("b", "a", "web")
    }
    assert rule_for("web", rules.values()) is rules["web"]
    assert rule_for("web", [rules["b"], rules["a"]]) is rules["a"]
    assert rule_for("web", []) is None


@pytest.mark.parametrize(
    ("simple", "balance"),
    [
        ("RANDOM", Balance.RANDOM),
        ("ROUND_ROBIN", Balance.ROUND_ROBIN),
        ("LEAST_REQUEST", Balance.LEAST_REQUEST),
        ("LEAST_CONN", Balance.LEAST_REQUEST),
        ("UNSPECIFIED", Balance.ROUND_ROBIN),
    ],
)
def test_a_rule_balances_as_it_says(simple: str, balance: Balance) -> None:
    assert policy_of(loadBalancer={"simple": simple}).balancing.algorithm is balance


def test_a_balancer_that_edgemesh_lacks_is_told() -> None:
    body = rule(loadBalancer={"simple": "PASSTHROUGH"})
    assert problems_of(body) == [
        (
            "spec.trafficPolicy.loadBalancer.simple: expected one of LEAST_CONN, LEAST_REQUEST, "
            'RANDOM, ROUND_ROBIN, UNSPECIFIED, got "PASSTHROUGH"; ignored'
        )
    ]


@pytest.mark.parametrize(
    ("hashing", "balancing"),
    [
        (
            {"httpHeaderName": "X-User"},
            Balancing(Balance.RING_HASH, HashKey(HashSource.HEADER, "x-user")),
        ),
        (
            {"httpCookie": {"name": "user", "ttl": "0s"}},
            Balancing(Balance.RING_HASH, HashKey(HashSource.COOKIE, "user", 0.0)),
        ),
        (
            {"httpCookie": {"name": "user", "path": "/p", "ttl": "1h"}, "maglev": {}},
            Balancing(Balance.MAGLEV, HashKey(HashSource.COOKIE, "user", 3600.0, "/p")),
        ),
        (
            {"httpQueryParameterName": "User", "minimumRingSize": 2048},
            Balancing(Balance.RING_HASH, HashKey(HashSource.QUERY, "User"), 2048),
        ),
        (
            {"useSourceIp": True, "ringHash": {"minimumRingSize": 64}},
            Balancing(Balance.RING_HASH, HashKey(HashSource.SOURCE_ADDRESS), 64),
        ),
    ],
)
def test_a_rule_hashes_what_it_names(hashing: Any, balancing: Balancing) -> None:
    assert policy_of(loadBalancer={"consistentHash": hashing}).balancing == balancing


@pytest.mark.parametrize(
    ("setting", "locality"),
    [
        ({"enabled": False}, Locality.ANY),
        ({"enabled": True}, Locality.PREFER_ZONE),
        ({"failoverPriority": ["topology.kubernetes.io/zone"]}, Locality.PREFER_ZONE),
        (
            {"failoverPriority": ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]},
            Locality.PREFER_NODE,
        ),
    ],
)
def test_a_rule_says_how_far_calls_go(setting: Any, locality: Locality) -> None:
    found = policy_of(loadBalancer={"localityLbSetting": setting})
    assert found.balancing.locality is locality


def test_what_the_service_says_stays_where_the_rule_says_nothing() -> None:
    base = Policy(
        balancing=Balancing(affinity_seconds=9, locality=Locality.NODE_ONLY, slow_start_seconds=5),
        limits=Limits(max_connections=1, max_pending=2),
        timeouts=Timeouts(1, 2, 3),
        breaker=Breaker(1),
    )
    assert policy_of(base=base) == base
    assert policy_of(base=base, connectionPool={}) == base
    changed = policy_of(
        base=base,
        loadBalancer={"simple": "RANDOM"},
        connectionPool={"tcp": {"maxConnections": 5}, "http": {"idleTimeout": "7s"}},
    )
    assert changed.balancing == Balancing(
        Balance.RANDOM, affinity_seconds=9, locality=Locality.NODE_ONLY, slow_start_seconds=5
    )
    assert changed.limits == Limits(max_connections=5, max_pending=2)
    assert changed.timeouts == Timeouts(1, 2, 7)


def test_what_is_hashed_goes_over_the_affinity_of_the_service() -> None:
    base = Policy(balancing=Balancing(affinity_seconds=60))
    hashed = {"consistentHash": {"httpHeaderName": "a"}}
    assert policy_of(base=base, loadBalancer=hashed).balancing.affinity_seconds == 0
    random = policy_of(base=base, loadBalancer={"simple": "RANDOM"})
    assert random.balancing.affinity_seconds == 60


@pytest.mark.parametrize("settings", [{"warmup": {"duration": "1m"}}, {"warmupDurationSecs": "1m"}])
def test_new_endpoints_warm_up(settings: Any) -> None:
    assert policy_of(loadBalancer=settings).balancing.slow_start_seconds == 60.0


def test_the_example_of_istio_about_connections_and_outliers() -> None:
    assert policy_of(
        connectionPool={
            "tcp": {"maxConnections": 100, "connectTimeout": "30ms", "idleTimeout": "2h"},
            "http": {
                "http1MaxPendingRequests": 7,
                "http2MaxRequests": 1000,
                "maxRequestsPerConnection": 10,
                "maxRetries": 3,
            },
        },
        outlierDetection={
            "consecutive5xxErrors": 7,
            "interval": "5m",
            "baseEjectionTime": "15m",
            "minHealthPercent": 20,
        },
    ) == Policy(
        balancing=Balancing(panic_percent=20),
        breaker=Breaker(7, 0, 300.0, base_ejection_seconds=900.0, max_ejection_percent=10),
        limits=Limits(100, 7, 1000, 3, 10),
        timeouts=Timeouts(connect=0.03, idle=7200.0),
    )


@pytest.mark.parametrize(
    ("outlier", "breaker"),
    [
        ({}, Breaker(5, 0, 10.0, base_ejection_seconds=30.0, max_ejection_percent=10)),
        ({"consecutiveErrors": 3}, Breaker(5, 3, max_ejection_percent=10)),
        (
            {"consecutiveErrors": 3, "consecutiveGatewayErrors": 4, "maxEjectionPercent": 100},
            Breaker(5, 4, max_ejection_percent=100),
        ),
        ({"consecutive5xxErrors": 0}, Breaker(0, max_ejection_percent=10)),
    ],
)
def test_outliers_are_ejected_with_istios_defaults(outlier: Any, breaker: Breaker) -> None:
    assert policy_of(outlierDetection=outlier).breaker == breaker


def test_without_outlier_detection_nothing_is_ejected() -> None:
    assert policy_of(loadBalancer={"simple": "RANDOM"}).breaker is None


def test_settings_of_a_port_inherit_nothing() -> None:
    traffic: Any = {
        "loadBalancer": {"simple": "RANDOM"},
        "connectionPool": {"tcp": {"maxConnections": 1}},
        "portLevelSettings": [
            {"port": {"number": 80}, "connectionPool": {"tcp": {"maxConnections": 2}}},
        ],
    }
    assert policy_of(80, **traffic) == Policy(limits=Limits(2))
    assert policy_of(81, **traffic) == Policy(balancing=Balancing(Balance.RANDOM), limits=Limits(1))


def test_a_subset_overrides_block_by_block() -> None:
    subsets = [
        {
            "name": "v1",
            "labels": {"version": "v1"},
            "trafficPolicy": {"loadBalancer": {"simple": "LEAST_REQUEST"}},
        },
        {"name": "v2", "labels": {"version": "v2"}},
        {"name": "v2", "labels": {"version": "twice"}},
    ]
    body = rule(
        subsets=subsets,
        loadBalancer={"simple": "RANDOM"},
        connectionPool={"tcp": {"maxConnections": 1}},
    )
    found = read(DestinationRule, body)
    named = subsets_of(found)
    assert list(named) == ["v1", "v2"]
    assert named["v2"].labels == {"version": "v2"}
    assert with_rule(DEFAULT_POLICY, found, 80, named["v1"]) == Policy(
        balancing=Balancing(Balance.LEAST_REQUEST), limits=Limits(1)
    )
    assert with_rule(DEFAULT_POLICY, found, 80, named["v2"]) == Policy(
        balancing=Balancing(Balance.RANDOM), limits=Limits(1)
    )


def test_a_subset_with_a_wrong_label_is_left_out_and_not_widened() -> None:
    body = rule(subsets=[{"name": "v1", "labels": {"version": 1}}, {"name": "v2"}])
    view = decode(body)
    assert isinstance(view, DestinationRule)
    assert list(subsets_of(view)) == ["v2"]
    assert problems_of(body) == [
        'spec.subsets[0].labels["version"]: expected a string, got 1; spec.subsets[0] is ignored'
    ]


@pytest.mark.parametrize("spec", [{}, {"host": ""}, {"host": 5}, None])
def test_a_rule_without_a_host_is_refused(spec: Any) -> None:
    with pytest.raises(FieldError, match="spec"):
        decode({**rule(), "spec": spec})


def test_no_tls_is_what_edgemesh_does_anyway() -> None:
    assert policy_of(tls={"mode": "DISABLE"}) == DEFAULT_POLICY


def test_fields_that_edgemesh_has_nothing_for_are_told() -> None:
    body = rule(tls={"mode": "ISTIO_MUTUAL"}, loadBalancer={"simple": "RANDOM", "typo": 1})
    body["spec"]["exportTo"] = ["."]
    assert problems_of(body) == [
        (
            'spec.trafficPolicy.tls.mode: expected one of DISABLE, got "ISTIO_MUTUAL"; '
            "spec.trafficPolicy.tls is ignored"
        ),
        "spec.trafficPolicy.loadBalancer.typo: unknown field, got 1; ignored",
        "spec.exportTo: not supported, got a list; ignored",
    ]
