"""A TrafficPolicy becomes the policy of the Service ports that it names."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec
import pytest
from policy_bodies import problems_of, read, traffic_policy

from edgemesh.model.policies import (
    DEFAULT_POLICY,
    Balance,
    Balancing,
    Breaker,
    EndpointRemoval,
    HashKey,
    HashSource,
    HealthCheck,
    Limits,
    Locality,
    Path,
    Policy,
    ProbeKind,
    Quota,
    QuotaScope,
    Retries,
    RetryOn,
    ServerLimits,
    Timeouts,
)
from edgemesh.model.services import ServicePort, Transport
from edgemesh.policy.objects.traffic_policies import in_force, services_of, with_traffic_policy
from edgemesh.wire.kubernetes import FieldError, decode
from edgemesh.wire.kubernetes.traffic_policy import TrafficPolicy

HTTP = ServicePort("default", "web", "http", Transport.TCP, 80)
ADMIN = ServicePort("default", "web", "admin", Transport.TCP, 81)


def policy_of(base: Policy = DEFAULT_POLICY, **spec: Any) -> Policy:
    return with_traffic_policy(base, read(TrafficPolicy, traffic_policy(**spec)).spec)


def test_the_example_of_the_design_means_what_it_says() -> None:
    assert policy_of(
        path="auto",
        qps={"client": {"rate": 100, "burst": 20}, "server": {"rate": 500, "burst": 50}},
        circuitBreaker={
            "consecutiveErrors": 5,
            "interval": "10s",
            "baseEjection": "30s",
            "maxEjection": "300s",
            "maxEjectionPercent": 50,
            "halfOpenRequests": 1,
            "maxConnections": 1024,
            "maxRequests": 1024,
        },
        timeouts={"connect": "2s", "request": "15s", "idle": "1h"},
        retries={"attempts": 2, "budgetPercent": 20},
    ) == Policy(
        path=Path.AUTO,
        client_quota=Quota(100, 20),
        server=ServerLimits(Quota(500, 50)),
        breaker=Breaker(5, 0, 10, 5, 0, 1.9, 30, 300, 50, 1),
        limits=Limits(max_connections=1024, max_requests=1024),
        timeouts=Timeouts(2, 15, 3600),
        retries=Retries(2, budget_percent=20),
    )


def test_a_policy_that_says_nothing_changes_nothing() -> None:
    base = Policy(Path.RELAY, breaker=Breaker(), retries=Retries(7))
    assert policy_of(base) == base
    empty: Any = {"qps": {}, "concurrency": {}, "timeouts": {}, "loadBalancing": {}}
    assert policy_of(base, circuitBreaker={}, **empty) == base


@pytest.mark.parametrize(
    ("spec", "field", "value"),
    [
        ({"path": "http"}, "path", Path.HTTP),
        ({"qps": {"client": {"rate": 2.5}}}, "client_quota", Quota(2.5, 3)),
        (
            {"qps": {"client": {"rate": 10, "burst": 1, "per": "source"}}},
            "client_quota",
            Quota(10, 1, QuotaScope.SOURCE),
        ),
        (
            {"concurrency": {"maxConcurrent": 4, "maxQueue": 8, "queueTimeout": "2s"}},
            "server",
            ServerLimits(None, 4, 8, 2.0),
        ),
        (
            {"qps": {"server": {"rate": 1, "per": "route"}}, "concurrency": {"maxQueue": 1}},
            "server",
            ServerLimits(Quota(1, 1, QuotaScope.ROUTE), 0, 1),
        ),
        ({"circuitBreaker": {}}, "breaker", None),
        ({"circuitBreaker": {"maxPending": 3}}, "breaker", None),
        ({"circuitBreaker": {"maxPending": 3}}, "limits", Limits(max_pending=3)),
        (
            {"circuitBreaker": {"maxRetries": 1, "maxRequestsPerConnection": 9}},
            "limits",
            Limits(max_retries=1, max_requests_per_connection=9),
        ),
        (
            {"circuitBreaker": {"successRateRequestVolume": 100, "successRateStdevFactor": 2}},
            "breaker",
            Breaker(success_rate_request_volume=100, success_rate_stdev_factor=2.0),
        ),
        ({"retries": {}}, "retries", Retries()),
        (
            {
                "retries": {
                    "attempts": 5,
                    "perTry": "1s",
                    "retryOn": ["5xx", "reset"],
                    "statuses": [429],
                    "grpcStatuses": [14],
                    "backoff": "10ms",
                    "anyMethod": True,
                }
            },
            "retries",
            Retries(
                5,
                1.0,
                20,
                frozenset({RetryOn.SERVER_ERROR, RetryOn.RESET}),
                frozenset({429}),
                frozenset({14}),
                0.01,
                any_method=True,
            ),
        ),
        ({"healthCheck": {}}, "health_check", HealthCheck()),
        (
            {"healthCheck": {"tcp": {}, "port": 9, "interval": "1s", "timeout": "500ms"}},
            "health_check",
            HealthCheck(port=9, interval_seconds=1.0, timeout_seconds=0.5),
        ),
        (
            {"healthCheck": {"http": {"path": "/live", "host": "web"}, "healthyThreshold": 1}},
            "health_check",
            HealthCheck(ProbeKind.HTTP, path="/live", host="web", healthy_threshold=1),
        ),
        (
            {"healthCheck": {"http": {"statuses": {"from": 299, "to": 200}}}},
            "health_check",
            HealthCheck(ProbeKind.HTTP, statuses=(200, 299)),
        ),
        (
            {"healthCheck": {"grpc": {"service": "orders"}, "unhealthyThreshold": 5}},
            "health_check",
            HealthCheck(ProbeKind.GRPC, service="orders", unhealthy_threshold=5),
        ),
        (
            {"connections": {"onEndpointRemoved": "close"}},
            "on_endpoint_removed",
            EndpointRemoval.CLOSE,
        ),
        ({"connections": {}}, "on_endpoint_removed", EndpointRemoval.KEEP),
    ],
)
def test_a_field_says_what_it_says(spec: dict[str, Any], field: str, value: object) -> None:
    assert getattr(policy_of(**spec), field) == value


@pytest.mark.parametrize(
    ("spec", "balancing"),
    [
        ({"algorithm": "maglev"}, Balancing(Balance.MAGLEV)),
        (
            {"hash": {"header": "X-User"}},
            Balancing(Balance.RING_HASH, HashKey(HashSource.HEADER, "x-user")),
        ),
        (
            {"algorithm": "maglev", "hash": {"query": "User"}},
            Balancing(Balance.MAGLEV, HashKey(HashSource.QUERY, "User")),
        ),
        (
            {"hash": {"cookie": {"name": "user"}}},
            Balancing(Balance.RING_HASH, HashKey(HashSource.COOKIE, "user")),
        ),
        (
            {"hash": {"cookie": {"name": "user", "path": "/a", "ttl": "0s"}}},
            Balancing(Balance.RING_HASH, HashKey(HashSource.COOKIE, "user", 0.0, "/a")),
        ),
        (
            {"hash": {"sourceAddress": True}, "ringSize": 64, "boundedLoadPercent": 125},
            Balancing(
                Balance.RING_HASH,
                HashKey(HashSource.SOURCE_ADDRESS),
                ring_size=64,
                bounded_load_percent=125,
            ),
        ),
        (
            {"affinity": "3h", "slowStart": "30s", "locality": "prefer_zone", "panicPercent": 50},
            Balancing(
                affinity_seconds=10800,
                slow_start_seconds=30.0,
                locality=Locality.PREFER_ZONE,
                panic_percent=50,
            ),
        ),
    ],
)
def test_balancing_is_as_it_is_asked_for(spec: dict[str, Any], balancing: Balancing) -> None:
    assert policy_of(loadBalancing=spec).balancing == balancing


def test_a_hash_key_alone_keeps_a_hashing_algorithm() -> None:
    base = Policy(balancing=Balancing(Balance.MAGLEV))
    changed = policy_of(base, loadBalancing={"hash": {"header": "a"}})
    assert changed.balancing.algorithm is Balance.MAGLEV


def test_what_is_hashed_goes_over_the_affinity_below() -> None:
    base = Policy(balancing=Balancing(affinity_seconds=60))
    hashed = {"header": "a"}
    assert policy_of(base, loadBalancing={"hash": hashed}).balancing.affinity_seconds == 0
    both = policy_of(base, loadBalancing={"hash": hashed, "affinity": "5s"})
    assert both.balancing.affinity_seconds == 5


def test_what_is_not_said_is_taken_from_below() -> None:
    base = Policy(
        breaker=Breaker(3, half_open_requests=4),
        server=ServerLimits(Quota(1, 1), 5),
        timeouts=Timeouts(1, 2, 3),
        retries=Retries(9, statuses=frozenset({500})),
        on_endpoint_removed=EndpointRemoval.CLOSE,
    )
    changed = policy_of(
        base,
        circuitBreaker={"consecutiveErrors": 1},
        concurrency={"maxQueue": 2},
        timeouts={"idle": "0s"},
        retries={"attempts": 1},
        connections={},
    )
    assert changed.on_endpoint_removed is EndpointRemoval.CLOSE
    assert changed.breaker == Breaker(1, half_open_requests=4)
    assert changed.server == ServerLimits(Quota(1, 1), 5, 2)
    assert changed.timeouts == Timeouts(1, 2, 0)
    assert changed.retries == Retries(1, statuses=frozenset({500}))


def test_a_policy_can_be_encoded() -> None:
    changed = policy_of(timeouts={"idle": "1s"}, loadBalancing={"slowStart": "1s"})
    assert msgspec.json.decode(msgspec.json.encode(changed))["timeouts"]["idle"] == 1.0
    assert all(type(seconds) is float for seconds in [changed.timeouts.idle])
    assert asdict(changed)


@pytest.mark.parametrize(
    ("target", "ports"),
    [
        ({}, [HTTP, ADMIN]),
        ({"port": 81}, [ADMIN]),
        ({"sectionName": "http"}, [HTTP]),
        ({"port": 82}, []),
        ({"group": "core"}, [HTTP, ADMIN]),
    ],
)
def test_a_target_names_ports(target: dict[str, Any], ports: list[ServicePort]) -> None:
    body = traffic_policy(targetRef={"kind": "Service", "name": "web", **target})
    policy = read(TrafficPolicy, body)
    assert services_of(policy) == {("default", "web")}
    assert [port for port in (HTTP, ADMIN) if in_force([policy], port)] == ports


def test_the_oldest_counts_then_the_first_by_name_and_the_port_goes_over_the_service() -> None:
    own = {"kind": "Service", "name": "web", "port": 80}
    policies = [
        read(TrafficPolicy, traffic_policy("young", "2026-01-02T00:00:00Z")),
        read(TrafficPolicy, traffic_policy("z-old", "2026-01-01T00:00:00Z")),
        read(TrafficPolicy, traffic_policy("old", "2026-01-01T00:00:00Z")),
        read(TrafficPolicy, traffic_policy("port", "2026-01-03T00:00:00Z", targetRef=own)),
    ]
    assert [each.metadata.name for each in in_force(policies, HTTP)] == ["old", "port"]
    assert [each.metadata.name for each in in_force(policies, ADMIN)] == ["old"]


@pytest.mark.parametrize(
    "target",
    [None, {"kind": "Service"}, {"kind": "Pod", "name": "web"}, {"kind": "Service", "name": "A"}],
)
def test_a_policy_without_a_usable_target_is_refused(target: Any) -> None:
    with pytest.raises(FieldError, match=r"spec\.targetRef"):
        decode(traffic_policy(targetRef=target))


def test_a_quota_without_a_usable_rate_is_left_out_whole() -> None:
    body = traffic_policy(qps={"client": {"rate": "x", "burst": 1}}, path="relay")
    view = decode(body)
    assert isinstance(view, TrafficPolicy)
    assert with_traffic_policy(DEFAULT_POLICY, view.spec) == Policy(Path.RELAY)
    assert problems_of(body) == [
        'spec.qps.client.rate: expected a number above 0, got "x"; spec.qps.client is ignored'
    ]
