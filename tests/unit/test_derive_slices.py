"""Slices are derived from Pods as Kubernetes' endpointslice controller does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kube_bodies import Body, pod, service

from edgemesh.policy.endpoints import derive_slices
from edgemesh.wire.kubernetes import FieldError, validate

SELECTOR = {"app": "web"}


def web(**spec: Any) -> Body:
    return service(selector=SELECTOR, **spec)


def only(slices: list[Body]) -> Body:
    [found] = slices
    validate(found)
    return found


def addresses(slices: list[Body]) -> list[str]:
    return [address for s in slices for e in s["endpoints"] for address in e["addresses"]]


def with_addresses(body: Body, *ips: str) -> Body:
    return {**body, "status": {**body["status"], "podIPs": [{"ip": ip} for ip in ips]}}


def test_a_slice_says_whose_it_is() -> None:
    found = only(derive_slices(web(), [pod()]))
    assert found["metadata"]["namespace"] == "default"
    assert found["metadata"]["labels"] == {
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "edgemesh",
    }
    assert found["addressType"] == "IPv4"
    assert found["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]


def test_an_endpoint_names_its_pod_and_node() -> None:
    [endpoint] = only(derive_slices(web(), [pod()]))["endpoints"]
    assert endpoint == {
        "addresses": ["10.244.0.5"],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "targetRef": {
            "kind": "Pod",
            "namespace": "default",
            "name": "web-1",
            "uid": "uid-web-1",
        },
        "nodeName": "edge-1",
    }


def test_a_pod_without_a_node_gives_an_endpoint_without_one() -> None:
    [endpoint] = only(derive_slices(web(), [pod(nodeName=None)]))["endpoints"]
    assert "nodeName" not in endpoint


@pytest.mark.parametrize(
    ("labels", "matches"),
    [
        ({"app": "web", "tier": "front"}, True),
        ({"app": "web", "tier": "front", "more": "x"}, True),
        ({"app": "web"}, False),
        ({"app": "web", "tier": "back"}, False),
        ({}, False),
    ],
)
def test_a_pod_needs_every_label_of_the_selector(labels: dict[str, str], matches: bool) -> None:
    body = service(selector={"app": "web", "tier": "front"})
    assert bool(derive_slices(body, [pod(labels=labels)])) is matches


def test_a_pod_without_labels_matches_nothing() -> None:
    body = pod()
    body["metadata"]["labels"] = None
    assert derive_slices(web(), [body]) == []


def test_pods_of_other_namespaces_are_passed_over() -> None:
    assert derive_slices(web(), [pod(namespace="other")]) == []


@pytest.mark.parametrize(
    "body",
    [
        service(),
        service(selector={}),
        web(type="ExternalName", externalName="example.org", clusterIP=""),
    ],
)
def test_a_service_that_selects_nothing_has_no_slices(body: Body) -> None:
    assert derive_slices(body, [pod(), pod("b", labels={})]) == []


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_finished_pod_is_no_endpoint(phase: str) -> None:
    body = pod()
    body["status"]["phase"] = phase
    assert derive_slices(web(), [body]) == []


def test_a_pod_without_an_address_is_no_endpoint() -> None:
    assert derive_slices(web(), [{**pod(), "status": {"phase": "Pending"}}]) == []


@pytest.mark.parametrize(
    ("ready", "deleted", "publish", "conditions"),
    [
        (True, False, False, (True, True, False)),
        (False, False, False, (False, False, False)),
        (True, True, False, (False, True, True)),
        (False, True, False, (False, False, True)),
        (False, False, True, (True, False, False)),
        (True, True, True, (True, True, True)),
    ],
)
def test_conditions_follow_readiness_and_deletion(
    ready: bool, deleted: bool, publish: bool, conditions: tuple[bool, bool, bool]
) -> None:
    body = pod(ready=ready)
    if deleted:
        body["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    [found] = derive_slices(web(publishNotReadyAddresses=publish), [body])
    [endpoint] = found["endpoints"]
    assert tuple(endpoint["conditions"].values()) == conditions


def container(name: str, number: int, protocol: str = "TCP") -> Body:
    return {"ports": [{"name": name, "containerPort": number, "protocol": protocol}]}


def test_a_port_by_number_is_that_number() -> None:
    body = web(ports=[{"port": 80, "targetPort": 8080, "name": "http", "appProtocol": "http"}])
    assert only(derive_slices(body, [pod()]))["ports"] == [
        {"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "http"}
    ]


def test_a_port_by_name_differs_by_pod() -> None:
    body = web(ports=[{"port": 80, "targetPort": "http"}])
    pods = [
        pod("a", "10.0.0.1", containers=[container("http", 8080)]),
        pod("b", "10.0.0.2", containers=[container("other", 1), container("http", 9090)]),
        pod("c", "10.0.0.3", containers=[container("http", 8080)]),
    ]
    slices = derive_slices(body, pods)
    assert {s["ports"][0]["port"]: addresses([s]) for s in slices} == {
        8080: ["10.0.0.1", "10.0.0.3"],
        9090: ["10.0.0.2"],
    }
    assert len({s["metadata"]["name"] for s in slices}) == 2


def test_a_named_port_is_of_the_services_protocol() -> None:
    body = web(ports=[{"port": 53, "targetPort": "dns", "protocol": "UDP"}])
    pods = [pod(containers=[container("dns", 53, "TCP"), container("dns", 5353, "UDP")])]
    assert only(derive_slices(body, pods))["ports"][0]["port"] == 5353


def test_a_port_that_a_pod_lacks_is_left_out() -> None:
    body = web(ports=[{"port": 80, "name": "a"}, {"port": 81, "name": "b", "targetPort": "none"}])
    assert [port["name"] for port in only(derive_slices(body, [pod()]))["ports"]] == ["a"]


@pytest.mark.parametrize(
    ("spec", "families"),
    [
        ({}, ["IPv4"]),
        ({"clusterIP": ""}, ["IPv4"]),
        ({"clusterIP": "fd00::1"}, ["IPv6"]),
        ({"clusterIP": "", "ipFamilies": ["IPv6", "IPv4"]}, ["IPv6", "IPv4"]),
        ({"clusterIP": "None"}, ["IPv4", "IPv6"]),
        ({"clusterIP": "None", "ipFamilies": ["IPv6"]}, ["IPv6"]),
    ],
)
def test_there_is_a_slice_for_each_family_of_the_service(spec: Body, families: list[str]) -> None:
    slices = derive_slices(web(**spec), [with_addresses(pod(), "10.0.0.1", "fd00::1")])
    assert [s["addressType"] for s in slices] == families
    for found in slices:
        validate(found)


def test_the_hostname_counts_where_the_subdomain_is_the_service() -> None:
    named = {"hostname": "first"}
    pods = [
        pod("a", "10.0.0.1", subdomain="web", **named),
        pod("b", "10.0.0.2", subdomain="other", **named),
        pod("c", "10.0.0.3", subdomain="web"),
    ]
    endpoints = only(derive_slices(web(clusterIP="None"), pods))["endpoints"]
    assert [endpoint.get("hostname", "") for endpoint in endpoints] == ["first", "", ""]


def test_a_pod_that_is_not_valid_is_named_only_if_it_is_selected() -> None:
    broken = pod("b", "nowhere", labels={})
    assert addresses(derive_slices(web(), [pod(), broken])) == ["10.244.0.5"]
    with pytest.raises(FieldError, match=r"status\.podIP"):
        derive_slices(web(), [pod("b", "nowhere")])


PODS = st.lists(
    st.builds(
        pod,
        st.sampled_from("abcdef"),
        st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]),
        ready=st.booleans(),
        labels=st.sampled_from([SELECTOR, {}, {"app": "other"}]),
        containers=st.sampled_from([[], [container("http", 80)], [container("http", 81)]]),
    ),
    unique_by=lambda body: body["metadata"]["name"],
)


@given(PODS, st.randoms(use_true_random=False), st.sampled_from([80, "http", None]))
def test_slices_depend_on_the_pods_and_not_on_their_order(
    pods: list[Body], random: Any, target: int | str | None
) -> None:
    body = web(clusterIP="None", ports=[{"port": 80, "targetPort": target}])
    slices = derive_slices(body, pods)
    for found in slices:
        validate(found)
    shuffled = random.sample(pods, len(pods))
    by_name = {s["metadata"]["name"]: s for s in slices}
    assert by_name == {s["metadata"]["name"]: s for s in derive_slices(body, shuffled)}
    assert len(by_name) == len(slices)
    selected = [p["status"]["podIP"] for p in pods if p["metadata"]["labels"] == SELECTOR]
    assert sorted(addresses(slices)) == sorted(selected)
