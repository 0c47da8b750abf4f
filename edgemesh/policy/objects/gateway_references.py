"""What the references of Gateway API routes mean: the Services they are attached to and lead to.

Source: GEP-1294 for Services as parents.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgemesh.model.routes import Backend
from edgemesh.model.services import ServiceName, ServicePort
from edgemesh.policy.objects.backends import Neighbours
from edgemesh.wire.kubernetes.gateway_api.references import BackendReference, ParentReference

_CORE_GROUPS = frozenset({"", "core"})


def service_parents(parents: Iterable[ParentReference]) -> list[ParentReference]:
    """The parents that are Services.

    Whoever leaves the group out means that of Services, and not that of Gateways.
    """
    return [parent for parent in parents if parent.kind == "Service"]


def parent_names(namespace: str, parents: Iterable[ParentReference]) -> frozenset[ServiceName]:
    """The Services that a route of a namespace is attached to."""
    return frozenset(_parent_name(namespace, parent) for parent in service_parents(parents))


def is_attached(namespace: str, parents: Iterable[ParentReference], port: ServicePort) -> bool:
    """Whether a route of a namespace is attached to a port."""
    return any(
        _parent_name(namespace, parent) == (port.namespace, port.service)
        and parent.port in (None, port.port)
        and parent.section_name in (None, port.name)
        for parent in service_parents(parents)
    )


def callers_namespace(namespace: str, port: ServicePort) -> str:
    """The namespace whose callers a route is for, "" for everybody.

    A route of another namespace than its parent's is for the callers of its own (GEP-1294,
    consumer routes).
    """
    return "" if namespace == port.namespace else namespace


def backend_names(namespace: str, references: Iterable[BackendReference]) -> frozenset[ServiceName]:
    """The Services that references of a route of a namespace lead to."""
    return frozenset((each.namespace or namespace, each.name) for each in references)


def backend_of(
    kind: str, namespace: str, reference: BackendReference, neighbours: Neighbours
) -> Backend:
    """The backend that a route refers to, whether it is there or not.

    Args:
        kind: of the route.
        namespace: of the route.
        reference: see there.
        neighbours: see there.
    """
    name = (reference.namespace or namespace, reference.name)
    problem = _problem(kind, namespace, reference, name, neighbours)
    return Backend(*name, reference.port or 0, weight=reference.weight, problem=problem)


def nowhere(problem: str) -> Backend:
    """The backend of a rule that leads nowhere."""
    return Backend("", "", 0, problem=problem)


def _parent_name(namespace: str, parent: ParentReference) -> ServiceName:
    return (parent.namespace or namespace, parent.name)


def _problem(
    kind: str,
    namespace: str,
    reference: BackendReference,
    name: ServiceName,
    neighbours: Neighbours,
) -> str:
    if reference.kind != "Service" or reference.group not in _CORE_GROUPS:
        group = f"{reference.group}/" if reference.group else ""
        return f"{group}{reference.kind} {reference.name} is no Service of Kubernetes"
    shown = f"Service {name[0]}/{name[1]}"
    if name[0] != namespace and not neighbours.granted(kind, namespace, name):
        return f"{shown} is in another namespace, where no ReferenceGrant lets it be referred to"
    return f"{shown}: port required, but missing" if reference.port is None else ""
