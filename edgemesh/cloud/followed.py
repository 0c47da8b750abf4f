"""The kinds that are followed: those that make a difference to the mesh."""

from __future__ import annotations

from edgemesh.model.kinds import KINDS, Kind

_FOLLOWED = frozenset(
    {
        "DestinationRule",
        "EndpointSlice",
        "Endpoints",
        "GRPCRoute",
        "Gateway",
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
FOLLOWED_KINDS: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind.name in _FOLLOWED)
