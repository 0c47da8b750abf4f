"""What routes of the Gateway API refer to: parents and backends.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#parentreference and #backendref
"""

from __future__ import annotations

from typing import ClassVar

from edgemesh.wire.kubernetes.fields import Port
from edgemesh.wire.kubernetes.quantities import Weight
from edgemesh.wire.kubernetes.tolerant import PolicyView

GATEWAY_GROUP = "gateway.networking.k8s.io"


class ParentReference(PolicyView, frozen=True, kw_only=True):
    """What a route is attached to: a Service, or one port of it."""

    whole: ClassVar[bool] = True

    group: str = GATEWAY_GROUP
    kind: str = "Gateway"
    namespace: str = ""
    name: str
    section_name: str | None = None
    port: Port | None = None


class BackendReference(PolicyView, frozen=True, kw_only=True):
    """A Service port, with its share of the calls."""

    group: str = ""
    kind: str = "Service"
    namespace: str = ""
    name: str
    port: Port | None = None
    weight: Weight = 1
