"""A change of an object as nodes are sent it: encoded once for all."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from edgemesh.bus.stamp import new_stamp
from edgemesh.model.objects import Change, ChangeType, KubeObject, ObjectKey
from edgemesh.policy.bus.node_view import node_view
from edgemesh.wire.kubeedge.answers import push
from edgemesh.wire.message import NO_NAMESPACE, Operation, ResourcePath, encode_message

_DIGEST_BYTES = 16


class DownChange(NamedTuple):
    """The last change of one object.

    Args:
        revision: of the store.
        key: the object.
        deleted: whether it is gone.
        node: the node that a Pod runs on, "" for everything else.
        msg_id: of the Message.
        text: the Message.
    """

    revision: int
    key: ObjectKey
    deleted: bool
    node: str
    msg_id: str
    text: str


def encode_change(change: Change) -> DownChange:
    """The change with its whole object."""
    return _encoded(change, _without_managed_fields(change.object.body))


class NodeNews:
    """What edgemesh nodes are told of other Nodes: see `node_view`.

    Of most changes of a Node nothing is news: its kubelet reports its health every few minutes.
    """

    def __init__(self) -> None:
        self._told: dict[ObjectKey, bytes] = {}

    def take(self, change: Change) -> DownChange | None:
        """The change of a Node with what matters of it, None when nothing of that is new."""
        key = change.object.key
        view = node_view(change.object.body)
        if change.type is ChangeType.DELETE:
            self._told.pop(key, None)
            return _encoded(change, view)
        metadata = {**view["metadata"], "resourceVersion": ""}
        digest = blake2b(
            msgspec.json.encode({**view, "metadata": metadata}), digest_size=_DIGEST_BYTES
        ).digest()
        if self._told.get(key) == digest:
            return None
        self._told[key] = digest
        return _encoded(change, view)

    def forget(self) -> None:
        """Take everything for news."""
        self._told.clear()


def resource_of(key: ObjectKey) -> ResourcePath:
    """How a Message calls an object: ``default/service/web``, ``null/node/edge-1``."""
    return ResourcePath(key.namespace or NO_NAMESPACE, key.kind.lower(), key.name)


def _encoded(change: Change, body: Mapping[str, Any]) -> DownChange:
    one = change.object
    message = push(
        new_stamp(),
        _operation(change),
        resource_of(one.key),
        body,
        revision=str(one.resource_version),
    )
    return DownChange(
        one.resource_version,
        one.key,
        change.type is ChangeType.DELETE,
        _node_of(one),
        message.header.msg_id,
        encode_message(message).decode(),
    )


def _operation(change: Change) -> Operation:
    # CloudCore tells of a Node by update alone, of a new one too (captures, point 16).
    if change.object.key.kind == "Node" and change.type is ChangeType.INSERT:
        return Operation.UPDATE
    return Operation(change.type.value)


def _without_managed_fields(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without what only writers of the object care for; it is a third of a Pod."""
    if "managedFields" not in body["metadata"]:
        return body
    metadata = {k: v for k, v in body["metadata"].items() if k != "managedFields"}
    return {**body, "metadata": metadata}


def _node_of(one: KubeObject) -> str:
    if one.key.kind != "Pod":
        return ""
    node = (one.body.get("spec") or {}).get("nodeName")
    return node if isinstance(node, str) else ""
