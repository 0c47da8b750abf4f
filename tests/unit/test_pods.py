"""What a Pod says about who calls and about its share of calls."""

from __future__ import annotations

from typing import Any

import pytest
from kube_bodies import pod

from edgemesh.meta.pod_index import PodIndex
from edgemesh.model.objects import ObjectKey
from edgemesh.policy.pods import weight_of, workload_of
from edgemesh.wire.kubernetes import decode_as
from edgemesh.wire.kubernetes.pods import Pod


def view(name: str = "web-1", **metadata: Any) -> Pod:
    body = pod(name)
    body["metadata"] |= metadata
    return decode_as(Pod, body)


def owner(kind: str, name: str, *, controller: bool = True) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": kind, "name": name, "controller": controller}


@pytest.mark.parametrize(
    ("owners", "workload"),
    [
        ([], "web-1"),
        ([owner("Node", "edge-1", controller=False)], "web-1"),
        ([owner("StatefulSet", "web")], "web"),
        ([owner("DaemonSet", "web")], "web"),
        ([owner("ReplicaSet", "web-5c9f")], "web"),
        ([owner("ReplicaSet", "made-by-hand")], "made-by-hand"),
    ],
)
def test_a_workload_is_what_made_the_pod(owners: list[Any], workload: str) -> None:
    labels = {"pod-template-hash": "5c9f"}
    assert workload_of(view(labels=labels, ownerReferences=owners)) == workload


def test_a_replica_set_of_no_deployment_is_a_workload_itself() -> None:
    assert workload_of(view(ownerReferences=[owner("ReplicaSet", "web-5c9f")])) == "web-5c9f"


@pytest.mark.parametrize(("text", "weight"), [("0", 0), ("7", 7), ("1000", 1000), ("007", 7)])
def test_a_weight_is_a_small_number(text: str, weight: int) -> None:
    assert weight_of(view(annotations={"edgemesh.io/weight": text})) == (weight, "")


def test_without_a_weight_all_are_equal() -> None:
    assert weight_of(view()) == (1, "")


@pytest.mark.parametrize(
    "text", ["", "-1", "1.5", "1001", "x", "\u0663", "99999999999999999999999999"]
)
def test_a_weight_that_is_none_is_told(text: str) -> None:
    weight, problem = weight_of(view(annotations={"edgemesh.io/weight": text}))
    assert weight == 1
    assert problem.startswith('metadata.annotations["edgemesh.io/weight"]: expected an integer')


def test_pods_with_the_same_labels_share_them() -> None:
    index = PodIndex()
    for name in ("a", "b"):
        index.put(ObjectKey("Pod", "default", name), view(name, labels={"app": "web"}))
    assert index.labels_of("default/a") is index.labels_of("default/b")
    assert index.labels_of("default/unknown") == {}


def test_labels_of_pods_that_are_gone_are_forgotten_in_time() -> None:
    index = PodIndex()
    key = ObjectKey("Pod", "default", "a")
    for number in range(1000):
        assert index.put(key, view("a", labels={"number": str(number)}))
    assert len(index._label_sets) <= 200
    assert not index.put(key, view("a", labels={"number": "999"}))
    assert index.put(key, None)
