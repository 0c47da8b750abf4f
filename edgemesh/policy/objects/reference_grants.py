"""ReferenceGrants: whether a route may lead to a Service of another namespace."""

from __future__ import annotations

from collections.abc import Iterable

from edgemesh.model.services import ServiceName
from edgemesh.wire.kubernetes.gateway_api.reference_grant import ReferenceGrant
from edgemesh.wire.kubernetes.gateway_api.references import GATEWAY_GROUP


def is_granted(
    grants: Iterable[ReferenceGrant], kind: str, namespace: str, target: ServiceName
) -> bool:
    """Whether one of the grants lets a route lead to a Service.

    Args:
        grants: of the Service's namespace.
        kind: of the route, ``HTTPRoute``.
        namespace: of the route.
        target: the Service.
    """
    return any(
        _comes_from(grant, kind, namespace) and _leads_to(grant, target[1]) for grant in grants
    )


def _comes_from(grant: ReferenceGrant, kind: str, namespace: str) -> bool:
    wanted = (GATEWAY_GROUP, kind, namespace)
    return any(wanted == (one.group, one.kind, one.namespace) for one in grant.spec.sources)


def _leads_to(grant: ReferenceGrant, service: str) -> bool:
    return any(
        (one.group, one.kind) == ("", "Service") and one.name in ("", service)
        for one in grant.spec.targets
    )
