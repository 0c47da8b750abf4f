"""What nodes of the mesh have to know of each other's Node objects.

A kubelet writes its Node's status every few minutes at least: health, images, capacity, 10 KiB
and more. To tell each of a thousand nodes of each such report is a million Messages that change
nothing: nodes go by labels (zone), annotations (where links are taken) and addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OF_WRITERS_ONLY = frozenset({"managedFields"})


def node_view(body: Mapping[str, Any]) -> dict[str, Any]:
    """A Node object without what no other node needs.

    Args:
        body: of the Node.

    Returns:
        All of it but ``metadata.managedFields``, and of ``status`` nothing but ``addresses``.
    """
    metadata = {
        name: value for name, value in body["metadata"].items() if name not in _OF_WRITERS_ONLY
    }
    view = {**body, "metadata": metadata}
    status = view.pop("status", None)
    addresses = status.get("addresses") if isinstance(status, Mapping) else None
    if addresses:
        view["status"] = {"addresses": addresses}
    return view
