"""From Deployments and Pods to the pods that should run, and to what must change. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgemesh.lab.containers import app_of
from edgemesh.lab.plan import Node
from edgemesh.model.errors import OperatorError
from edgemesh.model.objects import ObjectKey
from edgemesh.wire.kubernetes import decode_as
from edgemesh.wire.kubernetes.pods import Pod, PodSpec
from edgemesh.wire.kubernetes.workloads import Deployment

# Kubernetes' alphabet for generated names (apimachinery/pkg/util/rand): no vowels, no words.
NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_HASH_LENGTH, SUFFIX_LENGTH = 10, 5
_NOT_RUN = ("DaemonSet", "StatefulSet")


@dataclass(frozen=True, slots=True)
class Workload:
    """So many Pods alike.

    Args:
        owner: the Deployment, or the bare Pod itself.
        replicas: how many.
        template: the Pod's ``metadata`` (labels, annotations) and ``spec``, whole.
        spec: the same ``spec``, typed.
        revision: a hash of the template: pods of another revision are replaced.
    """

    owner: ObjectKey
    replicas: int
    template: Mapping[str, Any]
    spec: PodSpec
    revision: str

    @property
    def names_its_pods(self) -> bool:
        """Whether pods get generated names; a bare Pod has its own."""
        return self.owner.kind != "Pod"


@dataclass(frozen=True, slots=True)
class Running:
    """A pod that is there: what it belongs to, in which revision, its name and its node."""

    owner: ObjectKey
    revision: str
    name: str
    node: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What to do about one workload: the pods to stop, and how many to start."""

    stop: tuple[Running, ...]
    start: int


def workload_of(key: ObjectKey, body: Mapping[str, Any]) -> Workload | None:
    """The workload that a checked object asks for, None when it is no workload.

    Raises:
        OperatorError: it is one that the lab cannot run.
    """
    if key.kind in _NOT_RUN:
        raise OperatorError(f"{key}: the lab runs Deployments and Pods only")
    if key.kind == "Pod":
        pod = decode_as(Pod, body)
        app_of(pod.spec, pod.metadata.annotations, str(key))
        return Workload(key, 1, body, pod.spec, _hash(body))
    if key.kind == "Deployment":
        deployment = decode_as(Deployment, body).spec
        app_of(deployment.template.spec, deployment.template.metadata.annotations, str(key))
        template = body["spec"]["template"]
        return Workload(
            key, deployment.replicas, template, deployment.template.spec, _hash(template)
        )
    return None


def difference(workload: Workload, running: Iterable[Running]) -> Difference:
    """Compare what should run with what does.

    Pods of an older revision go; when there are too many, the fullest node gives one up first.
    """
    own = [pod for pod in running if pod.owner == workload.owner]
    stop = [pod for pod in own if pod.revision != workload.revision]
    keep = [pod for pod in own if pod.revision == workload.revision]
    while len(keep) > workload.replicas:
        stop.append(_one_too_many(keep))
        keep.remove(stop[-1])
    return Difference(tuple(stop), workload.replicas - len(keep))


def pod_name(workload: Workload, choose: Callable[[str], str]) -> str:
    """A name for a new pod.

    Args:
        workload: whose pod it is.
        choose: takes one character of an alphabet at random.
    """
    if not workload.names_its_pods:
        return workload.owner.name
    suffix = "".join(choose(NAME_ALPHABET) for _ in range(SUFFIX_LENGTH))
    return f"{workload.owner.name}-{workload.revision}-{suffix}"


def pod_body(workload: Workload, name: str, node: Node, addresses: Sequence[str]) -> dict[str, Any]:
    """The Pod object of a pod that is ready, as the scheduler and the kubelet leave it."""
    metadata: Mapping[str, Any] = workload.template.get("metadata") or {}
    spec: Mapping[str, Any] = workload.template.get("spec") or {}
    labels = dict(metadata.get("labels") or {})
    if workload.names_its_pods:
        labels["pod-template-hash"] = workload.revision
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **metadata,
            "name": name,
            "namespace": workload.owner.namespace,
            "labels": labels,
        },
        "spec": {"serviceAccountName": "default", **spec, "nodeName": node.name},
        "status": {
            "phase": "Running",
            "hostIP": node.addresses[0],
            "podIP": addresses[0],
            "podIPs": [{"ip": address} for address in addresses],
            "conditions": [
                {"type": name_of_condition, "status": "True"}
                for name_of_condition in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
            ],
        },
    }


def node_body(node: Node) -> dict[str, Any]:
    """The Node object of a node of the lab."""
    addresses = [{"type": "InternalIP", "address": address} for address in node.addresses]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": node.labels},
        "spec": {"podCIDR": node.pod_networks[0], "podCIDRs": list(node.pod_networks)},
        "status": {
            "addresses": [*addresses, {"type": "Hostname", "address": node.name}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def _one_too_many(pods: Sequence[Running]) -> Running:
    on_node: dict[str, int] = {}
    for pod in pods:
        on_node[pod.node] = on_node.get(pod.node, 0) + 1
    return max(reversed(pods), key=lambda pod: on_node[pod.node])


def _hash(template: Mapping[str, Any]) -> str:
    """Ten characters that change with the template, as ``pod-template-hash`` does."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    characters = []
    for _ in range(_HASH_LENGTH):
        number, index = divmod(number, len(NAME_ALPHABET))
        characters.append(NAME_ALPHABET[index])
    return "".join(characters)
