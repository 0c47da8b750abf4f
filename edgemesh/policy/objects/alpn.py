"""Which TLS clients the routes of an object are for, by what they offer with ALPN (RFC 7301).

Neither Istio nor the Gateway API has a field for it.
"""

from __future__ import annotations

from edgemesh.wire.kubernetes.metadata import ObjectMetadata

ALPN_ANNOTATION = "edgemesh.io/alpn"


def alpn_of(metadata: ObjectMetadata) -> tuple[str, ...]:
    """The protocols of which a client has to offer one; empty for every client.

    An annotation that names none is for no client: its author did not mean all of them.

    Args:
        metadata: of a VirtualService or TLSRoute.
    """
    listed = metadata.annotations.get(ALPN_ANNOTATION)
    return () if listed is None else tuple(word.strip() for word in listed.split(","))
