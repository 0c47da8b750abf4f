"""ReferenceGrant: who may refer to objects of its namespace from another one.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#referencegrant
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import field

from edgemesh.wire.kubernetes.fields import DnsLabel
from edgemesh.wire.kubernetes.tolerant import BINDING, PolicyObject, PolicyView


class GrantFrom(PolicyView, frozen=True, kw_only=True):
    """Objects that may refer: all of a kind in a namespace."""

    whole: ClassVar[bool] = True

    group: str
    kind: str
    namespace: DnsLabel


class GrantTo(PolicyView, frozen=True, kw_only=True):
    """What they may refer to: all of a kind, or one by its name; the group "" is core."""

    whole: ClassVar[bool] = True

    group: str
    kind: str
    name: str = ""


class ReferenceGrantSpec(PolicyView, frozen=True, kw_only=True):
    """``spec`` of a ReferenceGrant."""

    sources: Annotated[tuple[GrantFrom, ...], BINDING] = field(name="from")
    targets: Annotated[tuple[GrantTo, ...], BINDING] = field(name="to")


class ReferenceGrant(PolicyObject, frozen=True, kw_only=True):
    """A ReferenceGrant."""

    spec: ReferenceGrantSpec
