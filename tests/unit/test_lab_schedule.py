"""Where the lab's scheduler puts Pods."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.lab.schedule import Candidate, Placed, choose_node, eligible
from edgemesh.wire.kubernetes.pods import PodSpec

NODES = (
    Candidate("edge-1", {"role": "edge", "disk": "ssd", "cores": "4"}),
    Candidate("edge-2", {"role": "edge", "cores": "16"}),
    Candidate("cloud", {"disk": "hdd", "cores": "many"}),
)

label_keys = st.sampled_from(["a", "b", "c"])
labels = st.dictionaries(label_keys, st.sampled_from(["", "x", "y"]))
candidates = st.lists(labels, min_size=1, max_size=6).map(
    lambda sets: [Candidate(f"node-{number}", each) for number, each in enumerate(sets)]
)


def affinity(*terms: list[dict[str, Any]], part: str = "matchExpressions") -> PodSpec:
    """A Pod that requires one of the terms, each a list of conditions."""
    selector = {"nodeSelectorTerms": [{part: term} for term in terms]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": selector}
    return msgspec.convert({"affinity": {"nodeAffinity": required}}, PodSpec)


def condition(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


def names(spec: PodSpec) -> list[str]:
    return [node.name for node in eligible(spec, NODES)]


@pytest.mark.parametrize(
    ("required", "nodes"),
    [
        (condition("role", "Exists"), ["edge-1", "edge-2"]),
        (condition("role", "DoesNotExist"), ["cloud"]),
        (condition("disk", "In", "ssd", "nvme"), ["edge-1"]),
        (condition("disk", "NotIn", "ssd"), ["edge-2", "cloud"]),
        (condition("cores", "Gt", "4"), ["edge-2"]),
        (condition("cores", "Lt", "16"), ["edge-1"]),
        (condition("cores", "Gt"), []),
        (condition("cores", "Gt", "few"), []),
        (condition("ram", "Lt", "4"), []),
    ],
)
def test_each_operator_selects_as_in_kubernetes(required: dict[str, Any], nodes: list[str]) -> None:
    assert names(affinity([required])) == nodes


def test_conditions_of_a_term_must_all_hold_and_one_term_is_enough() -> None:
    both = [condition("role", "Exists"), condition("disk", "Exists")]
    assert names(affinity(both)) == ["edge-1"]
    assert names(affinity(both, [condition("disk", "In", "hdd")])) == ["edge-1", "cloud"]


def test_a_term_without_conditions_selects_no_node() -> None:
    assert names(affinity([])) == []


def test_fields_select_by_the_nodes_name() -> None:
    by_name = condition("metadata.name", "In", "edge-2")
    assert names(affinity([by_name], part="matchFields")) == ["edge-2"]


def test_a_node_selector_wants_every_label_with_its_value() -> None:
    assert names(PodSpec(node_selector={"role": "edge", "disk": "ssd"})) == ["edge-1"]
    assert names(PodSpec(node_selector={"role": ""})) == []


def test_a_node_name_goes_past_the_affinity() -> None:
    spec = msgspec.structs.replace(affinity([condition("role", "Exists")]), node_name="cloud")
    assert names(spec) == ["cloud"]


def test_without_an_eligible_node_there_is_none() -> None:
    assert choose_node(PodSpec(node_name="gone"), "web", NODES, []) is None


@given(nodes=candidates, count=st.integers(1, 30))
def test_replicas_are_spread_evenly_over_all_eligible_nodes(
    nodes: list[Candidate], count: int
) -> None:
    placed: list[Placed] = []
    for _ in range(count):
        node = choose_node(PodSpec(), "web", nodes, placed)
        assert node is not None
        placed.append(Placed(node, "web"))
    counts = Counter(pod.node for pod in placed)
    loads = [counts[node.name] for node in nodes]
    assert max(loads) - min(loads) <= 1


@given(nodes=candidates, wanted=labels)
def test_a_pod_only_ever_gets_a_node_with_the_labels_that_it_selects(
    nodes: list[Candidate], wanted: dict[str, str]
) -> None:
    by_name = {node.name: node for node in nodes}
    chosen = choose_node(PodSpec(node_selector=wanted), "web", nodes, [])
    fitting = [node for node in nodes if wanted.items() <= node.labels.items()]
    assert (chosen is None) == (not fitting)
    if chosen is not None:
        assert by_name[chosen] in fitting


@given(nodes=candidates, key=label_keys, values=st.lists(st.sampled_from(["", "x", "y"])))
def test_opposite_operators_divide_the_nodes(
    nodes: list[Candidate], key: str, values: list[str]
) -> None:
    for one, other in (("In", "NotIn"), ("Exists", "DoesNotExist")):
        first = eligible(affinity([condition(key, one, *values)]), nodes)
        second = eligible(affinity([condition(key, other, *values)]), nodes)
        assert sorted([*first, *second], key=lambda node: node.name) == nodes


def test_between_equals_the_node_with_fewer_pods_of_others_is_chosen() -> None:
    placed = [Placed("edge-1", "web"), Placed("edge-2", "web"), Placed("edge-1", "db")]
    spec = affinity([condition("role", "Exists")])
    assert choose_node(spec, "web", NODES, placed) == "edge-2"
