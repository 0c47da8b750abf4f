"""What edgemesh nodes say besides acknowledgements: where they stand, how they are reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from edgemesh.bus.cloudhub.changes import Changes
from edgemesh.bus.cloudhub.down_feed import SYNC, for_mesh_node
from edgemesh.bus.cloudhub.refusals import Reason, Refusals
from edgemesh.bus.cloudhub.session import Session
from edgemesh.bus.stamp import new_stamp
from edgemesh.model.objects import ObjectKey, Origin
from edgemesh.model.streams import LINK_ANNOTATION, VERSION_ANNOTATION
from edgemesh.store.store import Store
from edgemesh.store.transaction import Transaction
from edgemesh.wire.host_port import joined, parse_host_port
from edgemesh.wire.kubeedge.answers import answer
from edgemesh.wire.message import Message

_MOST_ADDRESSES = 16
_LONGEST_VERSION = 64
# For what this replica is about to hear of; then the node gets everything.
_PATIENCE_SECONDS = 5.0

# Puts whole objects into the store as ``edgemesh apply`` does.
Apply = Callable[[Transaction, list[dict[str, Any]]], object]


class _Position(msgspec.Struct, frozen=True):
    store: str = ""
    revision: int = 0


class _NodeLink(msgspec.Struct, frozen=True):
    addresses: tuple[str, ...] = ()
    version: str = ""


class MeshNodes:
    """Answers edgemesh nodes.

    Args:
        store: of the cloud.
        changes: what nodes are sent.
        apply: writes objects, within a transaction.
        refusals: where what is refused is counted.
    """

    def __init__(self, store: Store, changes: Changes, apply: Apply, refusals: Refusals) -> None:
        self._store = store
        self._changes = changes
        self._apply = apply
        self._refusals = refusals

    async def begin_sync(self, session: Session, message: Message) -> None:
        """The node says which revision it has come to: send what has happened since."""
        try:
            position = msgspec.json.decode(message.content, type=_Position)
        except msgspec.DecodeError as error:
            self._refusals.count(Reason.INVALID, session.node, f"{SYNC}: {error}")
            return
        if position.store == self._changes.store_uid:
            await self._changes.reached(position.revision, _PATIENCE_SECONDS)
        feed = for_mesh_node(self._changes, position.store, position.revision, session.end)
        beginning = {
            "store": self._changes.store_uid,
            "full": feed.full,
            "revision": feed.listed_to,
        }
        await session.tell(answer(message, new_stamp(), beginning))
        session.feed = feed
        session.wake()

    async def note_link(self, session: Session, message: Message) -> None:
        """The node says how others reach it: note it on its Node, for all others to hear."""
        try:
            link = msgspec.json.decode(message.content, type=_NodeLink)
        except msgspec.DecodeError as error:
            self._refusals.count(Reason.INVALID, session.node, f"{message.route.resource}: {error}")
            return
        try:
            # It goes to every node of the mesh, so it had better be what it says.
            addresses = [joined(*parse_host_port(text)) for text in link.addresses]
        except ValueError as error:
            self._refusals.count(Reason.INVALID, session.node, f"addresses of links: {error}")
            return
        annotations = {
            LINK_ANNOTATION: ",".join(addresses[:_MOST_ADDRESSES]),
            VERSION_ANNOTATION: link.version[:_LONGEST_VERSION],
        }
        await self._annotate(session.node, annotations)

    async def _annotate(self, node: str, annotations: Mapping[str, str]) -> None:
        def work(transaction: Transaction) -> None:
            existing = transaction.get(ObjectKey("Node", "", node))
            body: dict[str, Any] = {"apiVersion": "v1", "kind": "Node"}
            if existing is not None:
                body = dict(existing.body)
            metadata = dict(body.get("metadata") or {"name": node})
            metadata["annotations"] = {**(metadata.get("annotations") or {}), **annotations}
            whole = {**body, "metadata": metadata}
            if existing is not None and existing.origin is Origin.SYNCED:
                # What Kubernetes says of a Node is not ours to change, but this it does not say.
                transaction.put(existing.key, whole, Origin.SYNCED, existing)
            else:
                self._apply(transaction, [whole])

        await self._store.transact(work)
