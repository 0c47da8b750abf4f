"""Names and addresses: different for everything in a lab, and names also between labs."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.lab.plan import (
    MAX_EDGE_NODES,
    MAX_PODS_PER_NODE,
    free_slot,
    node_link,
    plan_nodes,
    pod_link,
    pod_namespace,
    pod_place,
    prefix,
    resolv_conf,
    switch_addresses,
    switch_namespace,
)
from edgemesh.model.errors import OperatorError

lab_names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)
pod_names = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?", fullmatch=True)
node_counts = st.integers(1, MAX_EDGE_NODES)
slots = st.integers(2, MAX_PODS_PER_NODE + 1)


def test_edge_nodes_come_first_and_the_cloud_last() -> None:
    assert [node.name for node in plan_nodes("x", 2)] == ["edge-1", "edge-2", "cloud"]


def test_nodes_have_the_documented_pod_networks() -> None:
    edge, cloud = plan_nodes("x", 1)
    assert edge.pod_networks == ("10.244.1.0/24", "fd00:244:1::/64")
    assert cloud.pod_networks == ("10.244.0.0/24", "fd00:244::/64")


@given(count=node_counts)
def test_no_two_nodes_share_an_address_or_a_pod_network(count: int) -> None:
    nodes = plan_nodes("x", count)
    addresses = [*switch_addresses(), *(each for node in nodes for each in node.addresses)]
    assert len(set(addresses)) == 2 * (len(nodes) + 1)
    for family in (0, 1):
        networks = sorted(ip_network(node.pod_networks[family]) for node in nodes)
        assert not any(a.overlaps(b) for a, b in pairwise(networks))


@given(count=node_counts, slot=slots, name=pod_names)
def test_a_pods_addresses_lie_in_its_nodes_networks(count: int, slot: int, name: str) -> None:
    node = plan_nodes("x", count)[-2]
    for address, network, gateway in zip(
        node.pod_addresses(slot), node.pod_networks, node.pod_gateways, strict=True
    ):
        assert ip_address(address) in ip_network(network)
        assert address != gateway
    for end in (*pod_link(node, slot, name), *node_link(node)):
        assert len(end.device) <= 15


@given(lab=lab_names, other=lab_names, pod=pod_names, slot=slots)
def test_a_labs_prefix_fits_its_own_namespaces_and_no_others(
    lab: str, other: str, pod: str, slot: int
) -> None:
    *_, edge, cloud = plan_nodes(lab, 3)
    own = [switch_namespace(lab), edge.namespace, cloud.namespace, pod_namespace(edge, slot, pod)]
    assert len(set(own)) == 4
    assert all(len(name) < 255 for name in own)
    assert all(name.startswith(prefix(lab)) for name in own)
    if other != lab:
        assert not any(name.startswith(prefix(other)) for name in own)


@given(count=node_counts, pod=pod_names, slot=slots)
def test_a_pods_namespace_tells_its_place_and_no_other_namespace_does(
    count: int, pod: str, slot: int
) -> None:
    node = plan_nodes("x", count)[-2]
    assert pod_place("x", pod_namespace(node, slot, pod)) == (node.number, slot)
    assert pod_place("x", node.namespace) is None
    assert pod_place("x", switch_namespace("x")) is None


@given(taken=st.frozensets(slots, max_size=20))
def test_a_free_slot_is_one_that_is_not_taken(taken: frozenset[int]) -> None:
    node = plan_nodes("x", 1)[0]
    assert free_slot(node, taken) not in taken


def test_a_full_node_takes_no_more() -> None:
    node = plan_nodes("x", 1)[0]
    with pytest.raises(OperatorError, match="node edge-1 has"):
        free_slot(node, frozenset(range(2, MAX_PODS_PER_NODE + 2)))


@pytest.mark.parametrize("name", ["", "a.b", "-a", "a-", "A", "a/b", "a" * 33])
def test_a_name_that_could_meet_another_lab_or_no_file_is_refused(name: str) -> None:
    with pytest.raises(OperatorError, match="cannot be the name of a lab"):
        plan_nodes(name, 1)


@pytest.mark.parametrize("count", [0, -1, MAX_EDGE_NODES + 1])
def test_a_count_of_nodes_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(OperatorError, match="expected 1 to"):
        plan_nodes("x", count)


def test_pods_search_their_own_namespace_first() -> None:
    assert "search shop.svc.cluster.local svc.cluster.local cluster.local\n" in resolv_conf("shop")
