"""GRPCRoute: where the gRPC calls for a Service are routed (GEP-1016).

Source: https://gateway-api.sigs.k8s.io/reference/spec/#grpcroute
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from msgspec import Meta

from edgemesh.wire.kubernetes.gateway_api.references import ParentReference
from edgemesh.wire.kubernetes.gateway_api.requests import (
    FilteredBackend,
    HeaderMatch,
    HeadersFilter,
    ValueMatchType,
)
from edgemesh.wire.kubernetes.quantities import HostPattern, pattern_problem
from edgemesh.wire.kubernetes.tolerant import BINDING, PolicyObject, PolicyView

_ANY_WORD = "[^/]+"
# Neither has a slash in it, which comes between them in the path of a request.
_Word = Annotated[
    str,
    Meta(pattern=r"\A[^/\s]*\Z", max_length=1024, description="a name without slashes and spaces"),
]


class MethodMatch(PolicyView, frozen=True, kw_only=True):
    """A condition on the gRPC service and method; what is empty is any."""

    whole: ClassVar[bool] = True

    type: ValueMatchType = "Exact"
    service: _Word = ""
    method: _Word = ""

    def check(self) -> str:
        """Refuse what no call can be."""
        if not self.service and not self.method:
            return "expected service or method, got none of them"
        return pattern_problem(self.path_pattern)

    @property
    def path_pattern(self) -> str:
        """The regular expression of the path of such calls, ``/package.Service/Method``."""
        quoted = re.escape if self.type == "Exact" else str
        service, method = quoted(self.service), quoted(self.method)
        return f"/(?:{service or _ANY_WORD})/(?:{method or _ANY_WORD})"


class GrpcMatch(PolicyView, frozen=True, kw_only=True):
    """Conditions that must all hold."""

    whole: ClassVar[bool] = True

    method: MethodMatch | None = None
    headers: tuple[HeaderMatch, ...] = ()


class GrpcRule(PolicyView, frozen=True, kw_only=True):
    """One rule: it is taken when one of its matches holds, or when it has none."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"sessionPersistence"})

    name: str = ""
    matches: Annotated[tuple[GrpcMatch, ...], BINDING] = ()
    filters: tuple[HeadersFilter, ...] = ()
    backend_refs: tuple[FilteredBackend, ...] = ()


class GrpcRouteSpec(PolicyView, frozen=True, kw_only=True):
    """``spec`` of a GRPCRoute."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"useDefaultGateways"})

    parent_refs: tuple[ParentReference, ...] = ()
    hostnames: Annotated[tuple[HostPattern, ...], BINDING] = ()
    rules: tuple[GrpcRule, ...] = ()


class GRPCRoute(PolicyObject, frozen=True, kw_only=True):
    """A GRPCRoute."""

    spec: GrpcRouteSpec
