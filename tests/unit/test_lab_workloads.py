"""How Deployments and Pods of a manifest become pods of the lab, and what changes between two."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.lab.plan import plan_nodes
from edgemesh.lab.workloads import (
    Running,
    Workload,
    difference,
    node_body,
    pod_body,
    pod_name,
    workload_of,
)
from edgemesh.model.errors import OperatorError
from edgemesh.model.objects import ObjectKey
from edgemesh.wire.kubernetes import decode_as, validate
from edgemesh.wire.kubernetes.pods import Pod

OWNER = ObjectKey("Deployment", "default", "web")
EDGE, _, CLOUD = plan_nodes("unit", 2)


def deployment(replicas: int = 3, image: str = "lab/idle", kind: str = "Deployment") -> Any:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
        },
    }


def workload(replicas: int = 3, image: str = "lab/idle") -> Workload:
    made = workload_of(OWNER, deployment(replicas, image))
    assert made is not None
    return made


def running(revision: str, *nodes: str) -> list[Running]:
    return [Running(OWNER, revision, f"web-{i}", node) for i, node in enumerate(nodes)]


def test_a_new_deployment_starts_all_of_its_replicas() -> None:
    found = difference(workload(3), [])
    assert (found.stop, found.start) == ((), 3)


def test_an_unchanged_deployment_changes_nothing() -> None:
    same = workload(2)
    found = difference(same, running(same.revision, "edge-1", "edge-2"))
    assert (found.stop, found.start) == ((), 0)


def test_a_changed_template_replaces_every_pod() -> None:
    old = running(workload(2, "lab/idle").revision, "edge-1", "edge-2")
    found = difference(workload(2, "lab/byte_echo"), old)
    assert (set(found.stop), found.start) == (set(old), 2)


def test_pods_of_other_workloads_are_left_alone() -> None:
    stranger = Running(ObjectKey("Deployment", "other", "web"), "r", "web-1", "edge-1")
    assert difference(workload(0), [stranger]).stop == ()


@given(
    nodes=st.lists(st.sampled_from(["edge-1", "edge-2", "cloud"]), max_size=12),
    replicas=st.integers(0, 12),
)
def test_any_scaling_ends_with_the_wanted_number_and_levels_the_nodes(
    nodes: list[str], replicas: int
) -> None:
    wanted = workload(replicas)
    before = running(wanted.revision, *nodes)
    found = difference(wanted, before)
    kept = [pod for pod in before if pod not in found.stop]
    assert len(kept) + found.start == replicas
    assert not (found.stop and found.start)
    if found.stop:
        # A node that gave a pod up was as full as any node is now, or fuller.
        left = Counter(pod.node for pod in kept)
        assert all(left[pod.node] + 1 >= max(left.values(), default=0) for pod in found.stop)


def test_a_pod_is_named_after_its_deployment_and_revision() -> None:
    wanted = workload()
    assert pod_name(wanted, lambda alphabet: alphabet[0]) == f"web-{wanted.revision}-bbbbb"


def test_a_bare_pod_keeps_its_name() -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]},
    }
    bare = workload_of(ObjectKey("Pod", "default", "client"), body)
    assert bare is not None
    assert (bare.replicas, pod_name(bare, lambda alphabet: alphabet[0])) == (1, "client")
    assert pod_body(bare, "client", EDGE, EDGE.pod_addresses(2))["metadata"]["labels"] == {}


def test_a_pod_object_says_where_it_runs_and_that_it_is_ready() -> None:
    body = pod_body(workload(), "web-1", EDGE, EDGE.pod_addresses(2))
    pod = decode_as(Pod, body)
    assert pod.status.ready
    assert pod.status.addresses == ("10.244.1.2", "fd00:244:1::2")
    assert pod.spec.node_name == "edge-1"
    assert body["metadata"]["labels"] == {"app": "web", "pod-template-hash": workload().revision}


def test_nodes_carry_the_labels_that_kubeedge_gives_them() -> None:
    edge, cloud = (node_body(node)["metadata"]["labels"] for node in (EDGE, CLOUD))
    roles = {"node-role.kubernetes.io/edge", "node-role.kubernetes.io/agent"}
    assert roles <= edge.keys()
    assert not roles & cloud.keys()
    validate(node_body(EDGE))


@pytest.mark.parametrize("kind", ["DaemonSet", "StatefulSet"])
def test_a_workload_that_the_lab_cannot_run_is_refused(kind: str) -> None:
    with pytest.raises(OperatorError, match=f"{kind} default/web: the lab runs"):
        workload_of(ObjectKey(kind, "default", "web"), deployment(kind=kind))


def test_an_object_that_is_no_workload_is_none() -> None:
    assert workload_of(ObjectKey("Namespace", "", "x"), {}) is None


def test_an_unknown_image_is_refused_before_anything_runs() -> None:
    with pytest.raises(OperatorError, match=r"Deployment default/web: .*nginx"):
        workload(image="nginx:1.27")
