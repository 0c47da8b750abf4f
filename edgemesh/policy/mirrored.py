"""What is kept of a Kubernetes object that is mirrored: not what changes without meaning.

Every change of a stored object goes to every node of the mesh. So what only its writers care for
is left out, and what we say of it ourselves, which would come back to us as a change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgemesh.model.kinds import Kind
from edgemesh.model.streams import NODE_ANNOTATIONS

# Who wrote which field, and the whole object once more as text.
_OF_WRITERS: Final = frozenset({"managedFields", "selfLink"})
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
# Of a Node: what the kubelet says of its disk, by the minute.
_OF_KUBELET: Final = frozenset({"images", "volumesInUse", "volumesAttached"})


def kept(kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
    """An object without what is left out.

    Args:
        kind: its kind.
        body: as the server sent it, with metadata; it stays as it is.
    """
    metadata = {name: each for name, each in body["metadata"].items() if name not in _OF_WRITERS}
    annotations = metadata.get("annotations")
    if isinstance(annotations, Mapping) and _LAST_APPLIED in annotations:
        metadata["annotations"] = {
            name: text for name, text in annotations.items() if name != _LAST_APPLIED
        }
    whole = {**body, "metadata": metadata}
    if kind.judged or kind.name == "Rule":
        whole.pop("status", None)
    elif kind.name == "Node" and isinstance(body.get("status"), Mapping):
        whole["status"] = _node_status(body["status"])
    return whole


def with_own_annotations(body: dict[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """A Node with what nodes have said here of themselves, and the server does not know.

    Args:
        body: of the Node, as it is about to be stored.
        present: as it is stored now.
    """
    known = present["metadata"].get("annotations") or {}
    own = {name: known[name] for name in NODE_ANNOTATIONS if name in known}
    if not own:
        return body
    metadata = body["metadata"]
    annotations = {**(metadata.get("annotations") or {}), **own}
    return {**body, "metadata": {**metadata, "annotations": annotations}}


def _node_status(status: Mapping[str, Any]) -> dict[str, Any]:
    slim = {name: each for name, each in status.items() if name not in _OF_KUBELET}
    conditions = status.get("conditions")
    if isinstance(conditions, list):
        slim["conditions"] = [
            {name: text for name, text in each.items() if name != "lastHeartbeatTime"}
            if isinstance(each, Mapping)
            else each
            for each in conditions
        ]
    return slim
