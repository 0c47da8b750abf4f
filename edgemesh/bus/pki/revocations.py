"""Who is shut out, as an object that nodes keep, so that they know it while the cloud is away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgemesh.bus.pki.checks import Revoked
from edgemesh.model.objects import ObjectKey

REVOCATIONS: Final = ObjectKey("ConfigMap", "edgemesh", "revoked-certificates")


def revocations_object(revoked: Revoked) -> dict[str, Any]:
    """The object; the same for the same revocations.

    Args:
        revoked: names of nodes, and serial numbers of certificates that have not ended.
    """
    return {
        "apiVersion": "v1",
        "kind": REVOCATIONS.kind,
        "metadata": {"name": REVOCATIONS.name, "namespace": REVOCATIONS.namespace},
        "data": {
            "nodes": "\n".join(sorted(revoked.nodes)),
            "serials": "\n".join(f"{serial:x}" for serial in sorted(revoked.serials)),
        },
    }


def read_revocations(body: Mapping[str, Any]) -> Revoked:
    """Read the object.

    Raises:
        ValueError: it is another.
    """
    match body.get("data"):
        case {"nodes": str(nodes), "serials": str(serials)}:
            numbers = (int(serial, 16) for serial in serials.split())
            return Revoked(frozenset(nodes.split()), frozenset(numbers))
    raise ValueError(f"{REVOCATIONS}: expected data.nodes and data.serials, lines of text")
