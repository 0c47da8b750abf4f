"""Policies of the snapshot follow their objects, and a change touches no other Service."""

from __future__ import annotations

from kube_bodies import (
    Body,
    change,
    destination_rule,
    endpoint,
    endpoint_slice,
    pod,
    service,
)
from policy_bodies import traffic_policy

from edgemesh.meta.snapshot import SnapshotBuilder
from edgemesh.model.objects import ChangeType, ObjectKey
from edgemesh.model.policies import DEFAULT_POLICY, NO_SUBSETS, Path
from edgemesh.model.services import ServicePort, Snapshot, Source

WEB = ("10.96.0.10", 80)
SERVED = endpoint_slice(
    endpoint("10.0.0.1", pod_name="one"), endpoint("10.0.0.2", pod_name="two"), endpoint("10.0.0.3")
)


def builder(*bodies: Body) -> SnapshotBuilder:
    made = SnapshotBuilder("edge-1", Source.NODE)
    made.apply(change(body) for body in (service(), *bodies))
    return made


def web(snapshot: Snapshot) -> ServicePort:
    return snapshot.tcp[WEB]


def versions() -> Body:
    rule = destination_rule("web", "web")
    rule["spec"] |= {
        "subsets": [
            {"name": "v1", "labels": {"version": "v1"}},
            {
                "name": "v2",
                "labels": {"version": "v2"},
                "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 1}}},
            },
            {"name": "all"},
        ]
    }
    return rule


def addresses(snapshot: Snapshot, subset: str) -> list[str]:
    return sorted(address for address, _ in web(snapshot).subsets[subset].addresses)


def test_a_policy_comes_changes_and_goes() -> None:
    made = builder(service("other", clusterIP="10.96.0.11"))
    other = made.build(1).tcp["10.96.0.11", 80]
    made.apply([change(traffic_policy(path="relay"))])
    found = made.build(2)
    assert web(found).policy.path is Path.RELAY
    assert found.tcp["10.96.0.11", 80] is other
    made.apply([change(traffic_policy(path="http"))])
    assert web(made.build(3)).policy.path is Path.HTTP
    to_other = traffic_policy(path="http", targetRef={"kind": "Service", "name": "other"})
    made.apply([change(to_other)])
    found = made.build(4)
    assert web(found).policy is DEFAULT_POLICY
    assert found.tcp["10.96.0.11", 80].policy.path is Path.HTTP
    made.apply([change(to_other, ChangeType.DELETE)])
    assert made.build(5).tcp["10.96.0.11", 80].policy is DEFAULT_POLICY


def test_a_policy_may_come_before_its_service() -> None:
    made = SnapshotBuilder("edge-1", Source.NODE)
    made.apply([change(traffic_policy(path="relay"))])
    made.build(1)
    made.apply([change(service())])
    assert web(made.build(2)).policy.path is Path.RELAY


def test_what_a_policy_gets_wrong_is_told_and_the_rest_applies() -> None:
    made = builder(traffic_policy(path="relay", retries={"attempts": -1}))
    assert web(made.build(1)).policy.path is Path.RELAY
    key = ObjectKey("TrafficPolicy", "default", "web")
    assert made.problems == {
        key: "spec.retries.attempts: expected an integer from 0 to 2147483647, got -1; ignored"
    }


def test_a_traffic_policy_goes_over_a_rule_and_its_subsets() -> None:
    made = builder(
        SERVED, versions(), traffic_policy(circuitBreaker={"maxConnections": 7}), pod("one")
    )
    found = web(made.build(1))
    assert found.policy.limits.max_connections == 7
    assert found.subsets["v2"].policy.limits.max_connections == 7
    assert found.subsets["v2"].policy.balancing == found.policy.balancing


def test_subsets_are_chosen_by_the_labels_of_pods_and_follow_them() -> None:
    one = pod("one", "10.0.0.1", labels={"version": "v1"})
    two = pod("two", "10.0.0.2", labels={"version": "v2"})
    made = builder(SERVED, versions(), one)
    found = made.build(1)
    assert addresses(found, "v1") == ["10.0.0.1"]
    assert addresses(found, "v2") == []
    assert addresses(found, "all") == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    made.apply([change(two)])
    assert addresses(made.build(2), "v2") == ["10.0.0.2"]
    made.apply([change(pod("one", "10.0.0.1", labels={"version": "v2"}))])
    found = made.build(3)
    assert addresses(found, "v1") == []
    assert addresses(found, "v2") == ["10.0.0.1", "10.0.0.2"]
    made.apply([change(two, ChangeType.DELETE)])
    assert addresses(made.build(4), "v2") == ["10.0.0.1"]
    made.apply([change(versions(), ChangeType.DELETE)])
    assert web(made.build(5)).subsets is NO_SUBSETS


def test_a_pod_that_changes_otherwise_touches_no_service() -> None:
    made = builder(SERVED, versions(), pod("one", labels={"version": "v1"}))
    before = web(made.build(1))
    made.apply([change(pod("one", ready=False, labels={"version": "v1"}))])
    assert web(made.build(2)) is before


def test_an_endpoints_weight_is_its_pods_and_follows_it() -> None:
    def weighted(text: str) -> Body:
        body = pod("one", "10.0.0.1")
        body["metadata"]["annotations"] = {"edgemesh.io/weight": text}
        return body

    made = builder(SERVED)
    for text, weights in (("5", [5, 1, 1]), ("0", [0, 1, 1]), ("1", [1, 1, 1]), ("3", [3, 1, 1])):
        made.apply([change(weighted(text))])
        assert [each.weight for each in web(made.build(1)).endpoints] == weights
        assert made.problems == {}
    made.apply([change(weighted("many"))])
    assert [each.weight for each in web(made.build(1)).endpoints] == [1, 1, 1]
    assert made.problems == {
        ObjectKey("Pod", "default", "one"): 'metadata.annotations["edgemesh.io/weight"]: '
        'expected an integer from 0 to 1000, got "many"'
    }


def test_ports_are_found_by_their_key_without_an_address_too() -> None:
    made = builder(service("db", clusterIP="None"))
    found = made.build(1)
    assert set(found.ports) == {
        ("default", "web", "TCP", 80),
        ("default", "db", "TCP", 80),
    }
    assert found.ports[web(found).key] is web(found)
    made.apply([change(service("db", clusterIP="None"), ChangeType.DELETE)])
    after = made.build(2)
    assert set(after.ports) == {web(found).key}
    assert made.build(3).ports is after.ports


def test_a_caller_is_known_by_its_workload_and_its_labels() -> None:
    body = pod("web-7d4b9c-x2x", labels={"app": "web", "pod-template-hash": "7d4b9c"})
    body["metadata"]["ownerReferences"] = [
        {"kind": "ReplicaSet", "name": "web-7d4b9c", "controller": True}
    ]
    identity = builder(body).build(1).pods["10.244.0.5"]
    assert identity.workload == "web"
    assert identity.labels["app"] == "web"
