"""Which node a Pod runs on: the part of the Kubernetes scheduler that the lab needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgemesh.wire.kubernetes.pods import NodeRequirement, NodeTerm, PodSpec


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node as the scheduler sees it."""

    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Placed:
    """A Pod that is on a node already; ``owner`` is what it has in common with its replicas."""

    node: str
    owner: str


def eligible(spec: PodSpec, nodes: Iterable[Candidate]) -> list[Candidate]:
    """The nodes that a Pod may run on: by nodeName, nodeSelector and required nodeAffinity."""
    return [node for node in nodes if _allows(spec, node)]


def choose_node(
    spec: PodSpec, owner: str, nodes: Sequence[Candidate], placed: Iterable[Placed]
) -> str | None:
    """The node for one more Pod, None when there is none that it may run on.

    Among eligible nodes it is the one with the fewest Pods of the same owner, then with the
    fewest Pods at all, then the first: replicas are spread evenly.
    """
    present = list(placed)

    def load(node: Candidate) -> tuple[int, int]:
        here = [pod for pod in present if pod.node == node.name]
        return sum(pod.owner == owner for pod in here), len(here)

    chosen = min(eligible(spec, nodes), key=load, default=None)
    return chosen.name if chosen else None


def _allows(spec: PodSpec, node: Candidate) -> bool:
    if spec.node_name:
        return spec.node_name == node.name
    selected = all(node.labels.get(key) == value for key, value in spec.node_selector.items())
    return selected and _affinity_allows(spec, node)


def _affinity_allows(spec: PodSpec, node: Candidate) -> bool:
    affinity = spec.affinity.node_affinity
    if affinity is None:
        return True
    required = affinity.required_during_scheduling_ignored_during_execution
    return required is None or any(_matches(term, node) for term in required.node_selector_terms)


def _matches(term: NodeTerm, node: Candidate) -> bool:
    """Whether all conditions of a term hold; a term without any matches no node."""
    fields = {"metadata.name": node.name}
    results = [
        *(_holds(requirement, node.labels) for requirement in term.match_expressions),
        *(_holds(requirement, fields) for requirement in term.match_fields),
    ]
    return bool(results) and all(results)


def _holds(requirement: NodeRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Gt" | "Lt":
            return _compares(requirement, value)


def _compares(requirement: NodeRequirement, value: str | None) -> bool:
    """Integers on both sides, one on the right; anything else does not hold."""
    bounds = requirement.values
    if value is None or len(bounds) != 1 or not (_is_integer(value) and _is_integer(bounds[0])):
        return False
    greater = int(value) > int(bounds[0])
    return greater if requirement.operator == "Gt" else int(value) < int(bounds[0])


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal()
