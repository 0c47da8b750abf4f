"""The snapshot follows every change, and is what a restart would come to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kube_bodies import (
    Body,
    change,
    destination_rule,
    endpoint,
    endpoint_slice,
    endpoints_object,
    node,
    pod,
    service,
)
from policy_bodies import backend, http_route, reference_grant, to, traffic_policy, virtual_service

from edgemesh.meta.snapshot import SnapshotBuilder
from edgemesh.model.objects import Change, ChangeType, ObjectKey
from edgemesh.model.policies import Balance
from edgemesh.model.services import NodePort, PodIdentity, Snapshot, Source, Transport
from edgemesh.policy.addresses import service_addresses

WEB = ("10.96.0.10", 80)


def builder() -> SnapshotBuilder:
    return SnapshotBuilder("edge-1", Source.NODE)


def build(*bodies: Body) -> Snapshot:
    made = builder()
    made.apply(change(body) for body in bodies)
    assert made.problems == {}
    return made.build(1)


def reached(snapshot: Snapshot) -> list[str]:
    return [found.address for found in snapshot.tcp[WEB].endpoints]


def derived(*addresses: str) -> Body:
    endpoints = [endpoint(address) for address in addresses]
    return endpoint_slice(*endpoints, name="web-derived", manager="edgemesh")


def test_a_call_to_a_service_finds_its_endpoints() -> None:
    found = build(service(), endpoint_slice(endpoint("10.0.0.1"), endpoint("10.0.0.2")))
    assert found.revision == 1
    assert reached(found) == ["10.0.0.1", "10.0.0.2"]
    assert found.services["default", "web"].ports == (found.tcp[WEB],)


def test_ports_are_found_at_every_address_and_node_port() -> None:
    ports = [
        {"name": "a", "port": 80, "nodePort": 30080},
        {"name": "b", "port": 53, "protocol": "UDP", "nodePort": 30053},
    ]
    found = build(service(type="NodePort", ports=ports, externalIPs=["192.0.2.1"]))
    assert set(found.tcp) == {("10.96.0.10", 80), ("192.0.2.1", 80)}
    assert set(found.udp) == {("10.96.0.10", 53), ("192.0.2.1", 53)}
    assert {number: port.name for number, port in found.tcp_node_ports.items()} == {30080: "a"}
    assert {number: port.name for number, port in found.udp_node_ports.items()} == {30053: "b"}
    assert service_addresses(found) == {
        ("10.96.0.10", Transport.TCP, 80),
        ("192.0.2.1", Transport.TCP, 80),
        ("10.96.0.10", Transport.UDP, 53),
        ("192.0.2.1", Transport.UDP, 53),
        NodePort(Transport.TCP, 30080),
        NodePort(Transport.UDP, 30053),
    }


def test_a_service_of_another_proxy_is_named_but_not_intercepted() -> None:
    body = service()
    body["metadata"]["labels"] = {"service.edgemesh.kubeedge.io/service-proxy-name": "x"}
    found = build(body, endpoint_slice(endpoint("10.0.0.1")))
    assert service_addresses(found) == frozenset()
    assert found.services["default", "web"].cluster_addresses == ("10.96.0.10",)


def test_a_service_can_be_handed_to_another_proxy_and_back() -> None:
    made = builder()
    other = service()
    other["metadata"]["labels"] = {"service.edgemesh.kubeedge.io/service-proxy-name": "x"}
    for body, intercepted in ((service(), True), (other, False), (service(), True)):
        made.apply([change(body)])
        assert (WEB in made.build(1).tcp) is intercepted


def test_the_best_source_of_endpoints_counts() -> None:
    made = builder()
    made.apply([change(service()), change(derived("10.0.0.1"))])
    assert reached(made.build(1)) == ["10.0.0.1"]
    made.apply([change(endpoints_object("10.0.0.2"))])
    assert reached(made.build(2)) == ["10.0.0.2"]
    foreign = endpoint_slice(endpoint("10.0.0.3"))
    made.apply([change(foreign)])
    assert reached(made.build(3)) == ["10.0.0.3"]
    made.apply([change(endpoint_slice())])
    assert reached(made.build(4)) == []
    made.apply([change(foreign, ChangeType.DELETE)])
    assert reached(made.build(5)) == ["10.0.0.2"]
    made.apply([change(endpoints_object("10.0.0.2"), ChangeType.DELETE)])
    assert reached(made.build(6)) == ["10.0.0.1"]
    made.apply([change(derived(), ChangeType.DELETE)])
    assert reached(made.build(7)) == []


def test_a_slice_may_move_to_another_service() -> None:
    made = builder()
    other = service("other", clusterIP="10.96.0.11")
    made.apply([change(service()), change(other), change(endpoint_slice(endpoint("10.0.0.1")))])
    assert reached(made.build(1)) == ["10.0.0.1"]
    moved = endpoint_slice(endpoint("10.0.0.1"), service_name="other")
    made.apply([change(moved)])
    found = made.build(2)
    assert reached(found) == []
    assert len(found.tcp["10.96.0.11", 80].endpoints) == 1


def test_a_slice_of_no_service_is_nobodys() -> None:
    body = endpoint_slice(endpoint("10.0.0.1"))
    del body["metadata"]["labels"]["kubernetes.io/service-name"]
    assert reached(build(service(), body)) == []


def test_a_service_that_is_deleted_leaves_nothing() -> None:
    made = builder()
    body = service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    made.apply([change(body), change(derived("10.0.0.1"))])
    made.build(1)
    made.apply([change(body, ChangeType.DELETE)])
    found = made.build(2)
    assert found == Snapshot(revision=2, node="edge-1")
    made.apply([change(body)])
    assert reached(made.build(3)) == ["10.0.0.1"]


def test_an_earlier_snapshot_is_never_changed() -> None:
    made = builder()
    made.apply([change(service()), change(derived("10.0.0.1"))])
    before = made.build(1)
    made.apply([change(derived("10.0.0.2")), change(pod(address="10.0.0.9"))])
    after = made.build(2)
    assert reached(before) == ["10.0.0.1"]
    assert before.pods == {}
    assert reached(after) == ["10.0.0.2"]


def test_a_change_that_no_call_goes_by_makes_no_service_anew() -> None:
    made = builder()
    body = service()
    made.apply([change(body), change(endpoint_slice(endpoint("10.0.0.1")))])
    before = made.build(1).services["default", "web"]
    annotated = {**body["metadata"], "annotations": {"seen": "yes"}}
    made.apply([change({**body, "metadata": annotated, "status": {"conditions": []}})])
    assert made.build(2).services["default", "web"] is before


def test_what_a_change_does_not_touch_is_shared() -> None:
    made = builder()
    made.apply([change(service()), change(service("other", clusterIP="10.96.0.11"))])
    before = made.build(1)
    made.apply([change(derived("10.0.0.1"))])
    after = made.build(2)
    assert after.services["default", "other"] is before.services["default", "other"]
    assert after.pods is before.pods


@pytest.mark.parametrize(
    ("rules", "balance"),
    [
        ([], Balance.ROUND_ROBIN),
        ([destination_rule("web", "whatever")], Balance.RANDOM),
        ([destination_rule("rule", "web")], Balance.RANDOM),
        ([destination_rule("rule", "web.default.svc.cluster.local")], Balance.RANDOM),
        ([destination_rule("rule", "web.other")], Balance.ROUND_ROBIN),
        (
            [destination_rule("web", "whatever", "ROUND_ROBIN"), destination_rule("rule", "web")],
            Balance.ROUND_ROBIN,
        ),
        (
            [destination_rule("b", "web"), destination_rule("a", "web", "ROUND_ROBIN")],
            Balance.ROUND_ROBIN,
        ),
    ],
)
def test_the_rule_is_found_by_name_then_by_host(rules: list[Body], balance: Balance) -> None:
    assert build(service(), *rules).tcp[WEB].policy.balancing.algorithm is balance


def test_a_rule_that_goes_or_changes_its_host_no_longer_counts() -> None:
    made = builder()
    made.apply([change(service()), change(destination_rule("rule", "web"))])
    assert made.build(1).tcp[WEB].policy.balancing.algorithm is Balance.RANDOM
    made.apply([change(destination_rule("rule", "other"))])
    assert made.build(2).tcp[WEB].policy.balancing.algorithm is Balance.ROUND_ROBIN
    made.apply([change(destination_rule("rule", "web"))])
    assert made.build(3).tcp[WEB].policy.balancing.algorithm is Balance.RANDOM
    made.apply([change(destination_rule("another", "web", "ROUND_ROBIN"))])
    assert made.build(4).tcp[WEB].policy.balancing.algorithm is Balance.ROUND_ROBIN
    made.apply([change(destination_rule("another", "web"), ChangeType.DELETE)])
    assert made.build(5).tcp[WEB].policy.balancing.algorithm is Balance.RANDOM
    made.apply([change(destination_rule("rule", "web"), ChangeType.DELETE)])
    assert made.build(6).tcp[WEB].policy.balancing.algorithm is Balance.ROUND_ROBIN


@pytest.mark.parametrize("source", ["slice", "endpoints"])
def test_zones_come_from_nodes_and_follow_them(source: str) -> None:
    served = endpoint_slice(endpoint("10.0.0.1", nodeName="edge-1"))
    if source == "endpoints":
        served = endpoints_object()
        served["subsets"][0]["addresses"] = [{"ip": "10.0.0.1", "nodeName": "edge-1"}]
    made = builder()
    made.apply([change(service()), change(served)])
    for zone in ("", "here", "there"):
        made.apply([change(node("edge-1", zone)), change(node("edge-2", "elsewhere"))])
        found = made.build(1)
        assert found.zone == zone
        assert found.tcp[WEB].endpoints[0].zone == zone
    made.apply([change(node("edge-1", "there"), ChangeType.DELETE)])
    assert made.build(2).zone == ""


def test_pods_are_found_by_every_address() -> None:
    body = pod()
    body["status"]["podIPs"] = [{"ip": "10.244.0.5"}, {"ip": "FD00::5"}]
    identity = PodIdentity("default", "web-1")
    assert build(body).pods == {"10.244.0.5": identity, "fd00::5": identity}


@pytest.mark.parametrize("reason", ["host network", "finished", "pending"])
def test_pods_without_an_address_of_their_own_are_not_found(reason: str) -> None:
    body = pod(hostNetwork=reason == "host network")
    if reason == "finished":
        body["status"]["phase"] = "Succeeded"
    if reason == "pending":
        body["status"] = {"phase": "Pending"}
    assert build(body).pods == {}


def test_an_address_that_is_given_again_is_the_new_pods() -> None:
    made = builder()
    old, new = pod("old"), pod("new")
    old["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    new["metadata"]["creationTimestamp"] = "2026-01-02T00:00:00Z"
    ending = {**old, "metadata": {**old["metadata"], "deletionTimestamp": "2026-01-02T00:00:00Z"}}
    made.apply([change(old), change(new), change(ending)])
    assert made.build(1).pods["10.244.0.5"].name == "new"
    made.apply([change(old, ChangeType.DELETE)])
    assert made.build(2).pods["10.244.0.5"].name == "new"
    made.apply([change(new, ChangeType.DELETE)])
    assert made.build(3).pods == {}


def test_an_object_that_cannot_be_decoded_is_told_and_passed_over() -> None:
    made = builder()
    key = ObjectKey("Service", "default", "web")
    made.apply([change(service()), change(service("other", clusterIP="10.96.0.11"))])
    made.apply([change(service(ports=[{"port": 70000}]))])
    assert set(made.build(1).tcp) == {("10.96.0.11", 80)}
    assert made.problems == {
        key: "spec.ports[0].port: expected an integer from 1 to 65535, got 70000"
    }
    made.apply([change(service())])
    assert made.problems == {}
    assert WEB in made.build(2).tcp


def test_a_problem_goes_with_its_object() -> None:
    made = builder()
    body = service()
    body["metadata"]["annotations"] = {"edgemesh.io/source": "client"}
    made.apply([change(body)])
    assert list(made.problems) == [ObjectKey("Service", "default", "web")]
    assert WEB in made.build(1).tcp
    made.apply([change(body, ChangeType.DELETE)])
    assert made.problems == {}


def test_other_kinds_are_passed_over() -> None:
    made = builder()
    made.apply([change({"kind": "ConfigMap", "metadata": {"name": "x"}})])
    assert made.problems == {}


def subsets() -> Body:
    rule = destination_rule("r", "web")
    rule["spec"]["subsets"] = [{"name": "v1", "labels": {"version": "v1"}}]
    return rule


def labelled() -> Body:
    body = pod("p", "10.9.0.1", labels={"version": "v1"})
    body["metadata"]["annotations"] = {"edgemesh.io/weight": "3"}
    return body


def _variants() -> list[list[Body]]:
    """Each object in several states, so that changes collide and undo each other."""
    other_proxy = service()
    other_proxy["metadata"]["labels"] = {"service.edgemesh.kubeedge.io/service-proxy-name": "x"}
    nodeport: dict[str, Any] = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}
    at_edge = endpoint("10.0.0.1", nodeName="edge-1", pod_name="p")
    return [
        [service(), other_proxy, service(clusterIP="None"), service(**nodeport), service(ports=5)],
        [service("b"), service("b", **nodeport), service("b", externalIPs=["10.96.0.10"])],
        [
            endpoint_slice(at_edge),
            endpoint_slice(service_name="b"),
            endpoint_slice(at_edge, manager="edgemesh"),
        ],
        [derived("10.0.0.2"), derived()],
        [endpoints_object("10.0.0.3", name="b"), endpoints_object(name="b")],
        [destination_rule("b", "x"), destination_rule("b", "web"), destination_rule("b", "b")],
        [destination_rule("r", "b"), destination_rule("r", "web", "ROUND_ROBIN"), subsets()],
        [traffic_policy("t", path="relay"), traffic_policy("t", path=5), traffic_policy("u")],
        [traffic_policy("u", targetRef={"kind": "Service", "name": "b"}, path="http")],
        [
            http_route({"backendRefs": [backend("b")]}),
            http_route({"backendRefs": 5}),
            http_route({"backendRefs": [backend("x", namespace="other")]}),
        ],
        [reference_grant(), reference_grant("x")],
        [
            virtual_service({"route": [to("b", weight=1)]}),
            virtual_service({"route": [to("web")]}, hosts=["b", "shop.example.org"]),
        ],
        [node("edge-1", "here"), node("edge-1", "there")],
        [pod("p", "10.9.0.1"), pod("p", "10.9.0.2"), pod("p", hostNetwork=True), labelled()],
        [pod("q", "10.9.0.1"), pod("q", "nowhere")],
    ]


CHANGES = st.lists(
    st.one_of(
        st.builds(
            change,
            st.one_of(*(st.sampled_from(bodies) for bodies in _variants())),
            st.sampled_from([ChangeType.UPDATE, ChangeType.UPDATE, ChangeType.DELETE]),
        ),
        st.none(),
    ),
    max_size=30,
)


@given(CHANGES)
def test_the_snapshot_is_the_one_that_a_restart_comes_to(changes: list[Change | None]) -> None:
    followed = builder()
    final: dict[ObjectKey, Change] = {}
    for step in changes:
        if step is None:
            followed.build(0)
            continue
        followed.apply([step])
        final.pop(step.object.key, None)
        if step.type is not ChangeType.DELETE:
            final[step.object.key] = step
    restarted = builder()
    restarted.apply(final[key] for key in sorted(final))
    assert followed.build(1) == restarted.build(1)
    assert followed.problems == restarted.problems
