"""Which objects edgemesh nodes are sent: what their data plane goes by."""

from __future__ import annotations

from edgemesh.bus.pki.revocations import REVOCATIONS
from edgemesh.model.objects import ObjectKey

MESH_KINDS = frozenset(
    {
        "DestinationRule",
        "EndpointSlice",
        "Endpoints",
        "GRPCRoute",
        "HTTPRoute",
        "Namespace",
        "Node",
        "Pod",
        "ReferenceGrant",
        "Rule",
        "RuleEndpoint",
        "Service",
        "TCPRoute",
        "TLSRoute",
        "TrafficPolicy",
        "VirtualService",
    }
)


def is_of_mesh(key: ObjectKey) -> bool:
    """Whether edgemesh nodes are sent an object."""
    return key.kind in MESH_KINDS or key == REVOCATIONS
