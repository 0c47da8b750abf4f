"""What the cloud sends, put into the store: whole batches, each in one transaction.

A node that has followed its cloud before says how far, and is sent what has happened since. One
that has not, or whose gap is too large, is sent everything; what it has beyond that has been
deleted meanwhile, and goes when the cloud says that this was all. Every write may be repeated:
a batch that was interrupted is sent again and comes to the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import trio

from edgemesh.meta.derivation import Derivation
from edgemesh.meta.errors import Code, RefusedError
from edgemesh.meta.refused import RefusedObjects
from edgemesh.meta.requests import key_of, kind_of_word
from edgemesh.meta.synced import SyncedObjects, complete_body
from edgemesh.model.objects import ObjectKey
from edgemesh.model.sync import SyncPosition
from edgemesh.observe.log import get_logger
from edgemesh.store.store import Store
from edgemesh.store.transaction import Transaction
from edgemesh.wire.kubernetes import FieldError
from edgemesh.wire.message import Message, MessageError, Operation

SYNC = "all/sync"

_log = get_logger("sync")


class SyncBegin(msgspec.Struct, frozen=True):
    """What the cloud answers to where a node stands.

    Args:
        store: the uid of its store.
        full: whether everything follows, not only what has happened since.
        revision: of its store at present.
    """

    store: str
    full: bool
    revision: int = 0


class SyncMark(msgspec.Struct, frozen=True):
    """How far the node has come once it has all that was sent before.

    Args:
        revision: of the cloud's store.
        synced: whether nothing further had happened.
    """

    revision: int
    synced: bool = True


class Synchroniser:
    """Writes what the cloud sends.

    Attributes:
        written: objects that were stored, by what happened to them.
        refused: objects that cannot be stored, the latest of them, and why.
        position: how far the cloud was followed, as it was last read or written.
        synced: whether this node had all that the cloud had when it last said so, and nothing
            was sent since.
        synced_changed: when that became so, or not so, on trio's clock.
    """

    def __init__(self, store: Store) -> None:
        """Know nothing yet; see `begin`."""
        self._store = store
        self.written: Counter[str] = Counter()
        self._refused = RefusedObjects[str]("cloud")
        self.refused: Mapping[str, str] = self._refused.latest
        self.position = SyncPosition()
        self.synced = False
        self.synced_changed = trio.current_time()

    async def begin(self) -> SyncSession:
        """Begin with a connection; where to go on is in ``position`` then.

        Raises:
            StoreError: the store cannot be read.
        """
        self.position = await self._store.sync_position()
        self.note_synced(synced=False)
        return SyncSession(self, self._store)

    def note_synced(self, *, synced: bool) -> None:
        """Note whether everything that the cloud has is here."""
        if synced != self.synced:
            self.synced, self.synced_changed = synced, trio.current_time()

    def tell(self, stored: Iterable[str], refused: Mapping[str, str]) -> None:
        """Note what was stored, and what cannot be."""
        for name in stored:
            self._refused.discard(name)
        for name, problem in refused.items():
            self.written["refused"] += 1
            self._refused.add(name, problem)


class SyncSession:
    """Writes what comes on one connection; made by `Synchroniser.begin`."""

    def __init__(self, parent: Synchroniser, store: Store) -> None:
        self._parent = parent
        self._store = store
        self._cloud_store = ""
        # Of a full sync, what was named so far.
        self._named: set[ObjectKey] | None = None

    async def write(self, messages: Sequence[Message]) -> None:
        """Write a batch; when this returns it is on disk.

        Args:
            messages: in the order in which they came. Those that cannot be stored are told and
                passed over.

        Raises:
            StoreError: nothing was written; the call may be repeated.
        """
        batch = _Batch(self._cloud_store, self._named)
        await self._store.transact(lambda transaction: batch.write(transaction, messages))
        self._cloud_store, self._named = batch.cloud_store, batch.named
        parent = self._parent
        parent.written.update(batch.written)
        parent.note_synced(synced=batch.synced)
        parent.position = batch.position or parent.position
        parent.tell(batch.stored, batch.refused)
        for key in batch.replaced:
            _log.warning("object that was applied here is replaced by the cloud's", object=str(key))
        if batch.swept:
            _log.info("objects that the cloud has no more are gone", count=batch.swept)


class _Batch:
    """One transaction's work, and what came of it; lives in the writer thread."""

    def __init__(self, cloud_store: str, named: set[ObjectKey] | None) -> None:
        self.cloud_store = cloud_store
        self.named = named
        self.written: Counter[str] = Counter()
        self.stored: set[str] = set()
        self.refused: dict[str, str] = {}
        self.position: SyncPosition | None = None
        self.synced = False
        self.swept = 0
        self.replaced: list[ObjectKey] = []

    def write(self, transaction: Transaction, messages: Sequence[Message]) -> None:
        objects = SyncedObjects(transaction, Derivation(transaction))
        for message in messages:
            resource = message.route.resource
            try:
                if resource == SYNC:
                    self._mark(transaction, objects, message)
                else:
                    self.synced = False
                    self._take(objects, message)
            except (MessageError, FieldError, RefusedError) as problem:
                self.refused[resource] = str(problem)
            else:
                self.stored.add(resource)
        for refused in objects.finish():
            what, _, why = refused.problem.partition(": ")
            self.refused[what] = why
        self.replaced = objects.replaced
        if objects.deleted:
            self.written["deleted"] = objects.deleted

    def _mark(self, transaction: Transaction, objects: SyncedObjects, message: Message) -> None:
        if message.route.operation == Operation.RESPONSE:
            begin = _content(message, SyncBegin)
            self.cloud_store = begin.store
            self.named = set() if begin.full else None
            return
        mark = _content(message, SyncMark)
        if not self.cloud_store:
            raise RefusedError(Code.BAD_REQUEST, "the end of a list that has not begun")
        if mark.synced and self.named is not None:
            self.swept += objects.sweep(transaction.synced_keys(), self.named)
            self.named = None
        self.synced = mark.synced
        if self.named is None:
            self.position = SyncPosition(self.cloud_store, mark.revision)
            transaction.note_position(self.position)

    def _take(self, objects: SyncedObjects, message: Message) -> None:
        key = key_of(message.resource)
        match message.route.operation:
            case Operation.INSERT | Operation.UPDATE:
                # Whatever it is like, the cloud has it: what is stored of it is not to be swept.
                if self.named is not None:
                    self.named.add(key)
                objects.put(key, _body(message, key))
                self.written["stored"] += 1
            case Operation.DELETE:
                if self.named is not None:
                    self.named.discard(key)
                objects.delete(key, _uid_of(message))
            case operation:
                raise RefusedError(Code.BAD_REQUEST, f"operation {operation!r} is unknown")


def _body(message: Message, key: ObjectKey) -> dict[str, Any]:
    """The object that a Message carries, complete and checked.

    Raises:
        MessageError, FieldError, RefusedError: it cannot be stored.
    """
    value = message.value()
    if not isinstance(value, dict) or not isinstance(value.get("metadata"), dict):
        raise RefusedError(Code.INVALID, "the content is not an object with metadata")
    # KubeEdge leaves kind and apiVersion out of some objects.
    return complete_body(kind_of_word(message.resource.type), key, value)


def _uid_of(message: Message) -> str:
    """The uid of a deleted object, "" where the cloud does not tell it."""
    match message.value():
        case {"metadata": {"uid": str(uid)}}:
            return uid
    return ""


def _content(message: Message, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(message.content, type=kind)
    except msgspec.MsgspecError as error:
        raise MessageError(f"content: {error}") from error
