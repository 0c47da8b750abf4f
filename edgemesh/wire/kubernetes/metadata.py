"""What all views of Kubernetes objects share: ``metadata`` and the way that fields are named.

A view is a frozen, typed look at the part of an object that edgemesh understands. Unknown
fields are allowed and not kept; the stored object always stays whole.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from edgemesh.wire.kubernetes.fields import DnsLabel, DnsSubdomain, ServiceName


class View(Struct, rename="camel", frozen=True, kw_only=True):
    """Base of all views: fields are camelCase in the object, snake_case here."""


class TemplateMetadata(View, frozen=True, kw_only=True):
    """``metadata`` of a Pod template: it names nothing yet."""

    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class ObjectMetadata(TemplateMetadata, frozen=True, kw_only=True):
    """``metadata`` of an object whose name is a subdomain, as most are.

    Times are RFC 3339 text, "" when unset.
    """

    name: DnsSubdomain
    namespace: DnsLabel = ""
    uid: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


class NamespaceMetadata(ObjectMetadata, frozen=True, kw_only=True):
    """``metadata`` of a Namespace, whose name becomes a DNS label."""

    name: DnsLabel


class ServiceMetadata(ObjectMetadata, frozen=True, kw_only=True):
    """``metadata`` of a Service, whose name becomes a DNS label of the older, stricter kind."""

    name: ServiceName


class ObjectView(View, frozen=True, kw_only=True):
    """Base of the views of whole objects."""

    metadata: ObjectMetadata


class GenericObject(ObjectView, frozen=True, kw_only=True):
    """An object whose ``spec`` is kept as it is."""

    spec: dict[str, Any] = field(default_factory=dict)
