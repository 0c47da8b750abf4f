"""What belongs to a node by way of its Pods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgemesh.bus.cloudhub.changes import Changes
from edgemesh.model.objects import ObjectKey
from edgemesh.wire.message import decode_message


class NodeHoldings:
    """See `edgemesh.policy.bus.authorization.Holdings`.

    Args:
        changes: where Pods are known from.
        node: whose.
    """

    def __init__(self, changes: Changes, node: str) -> None:
        self._changes = changes
        self._node = node

    def has_pod(self, namespace: str, name: str) -> bool:
        """Whether this Pod is, or was last, bound to the node."""
        change = self._changes.get(ObjectKey("Pod", namespace, name))
        return change is not None and change.node == self._node

    def uses(self, kind: str, namespace: str, name: str) -> bool:
        """Whether a Pod of the node uses this ``configmap`` or ``secret``."""
        return any(
            used == (kind, name)
            for change in self._changes.pods_on(self._node)
            if change.key.namespace == namespace and not change.deleted
            for used in _used(decode_message(change.text.encode()).value())
        )


def _used(value: Any) -> Iterator[tuple[str, str]]:
    """Kinds and names of what a Pod mounts or reads, wherever in it that stands."""
    if isinstance(value, list):
        for each in value:
            yield from _used(each)
    elif isinstance(value, dict):
        for field, each in value.items():
            yield from _named(field, each)
            yield from _used(each)


def _named(field: str, value: Any) -> Iterator[tuple[str, str]]:
    # core/v1: ConfigMapVolumeSource, ConfigMapProjection, ConfigMapEnvSource, *KeySelector,
    # SecretVolumeSource, LocalObjectReference..
    match field, value:
        case (("configMap" | "configMapRef" | "configMapKeyRef"), {"name": str(name)}):
            yield "configmap", name
        case (("secret" | "secretRef" | "secretKeyRef"), {"name": str(name)}):
            yield "secret", name
        case "secretName", str(name):
            yield "secret", name
        case "imagePullSecrets", list(references):
            for reference in references:
                if isinstance(reference, dict) and isinstance(reference.get("name"), str):
                    yield "secret", reference["name"]
