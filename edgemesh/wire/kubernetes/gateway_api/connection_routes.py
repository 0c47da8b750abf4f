"""TLSRoute and TCPRoute: where the connections of a Service are routed.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#tlsroute and #tcproute
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from edgemesh.wire.kubernetes.gateway_api.references import BackendReference, ParentReference
from edgemesh.wire.kubernetes.quantities import HostPattern
from edgemesh.wire.kubernetes.tolerant import BINDING, PolicyObject, PolicyView


class ConnectionRule(PolicyView, frozen=True, kw_only=True):
    """Where connections go; since rules have no conditions, the first of a route counts."""

    name: str = ""
    backend_refs: tuple[BackendReference, ...] = ()


class TcpRouteSpec(PolicyView, frozen=True, kw_only=True):
    """``spec`` of a TCPRoute."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"useDefaultGateways"})

    parent_refs: tuple[ParentReference, ...] = ()
    rules: tuple[ConnectionRule, ...] = ()


class TlsRouteSpec(TcpRouteSpec, frozen=True, kw_only=True):
    """``spec`` of a TLSRoute; without host names it is for every name."""

    hostnames: Annotated[tuple[HostPattern, ...], BINDING] = ()


class TCPRoute(PolicyObject, frozen=True, kw_only=True):
    """A TCPRoute."""

    spec: TcpRouteSpec


class TLSRoute(PolicyObject, frozen=True, kw_only=True):
    """A TLSRoute."""

    spec: TlsRouteSpec
