"""What the cloud sends, put into the store: whole batches, each in one transaction.

A node that has followed its cloud before says how far, and is sent what has happened since. One
that has not, or whose gap is too large, is sent everything; what it has beyond that has been
deleted meanwhile, and goes when the cloud says that this was all. Every write may be repeated:
a batch that was interrupted is sent again and comes to the same.

Objects keep the uid and the body that they have in the cloud. The cloud's object replaces one
of the same name that was applied here; nothing that is applied here replaces the cloud's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import trio

from edgemesh.meta.addresses import named_values
from edgemesh.meta.derivation import Derivation
from edgemesh.meta.errors import Code, RefusedError
from edgemesh.meta.requests import key_of, kind_of_word
from edgemesh.model.objects import KubeObject, ObjectKey, Origin
from edgemesh.model.sync import SyncPosition
from edgemesh.observe.log import get_logger
from edgemesh.store.store import Store
from edgemesh.store.transaction import Transaction
from edgemesh.wire.kubernetes import FieldError, kind_of, validate
from edgemesh.wire.message import Message, MessageError, Operation, ResourcePath

SYNC = "all/sync"

_LONGEST_UID = 36
# More names than anybody reads; the count goes on.
_REFUSED_REMEMBERED = 1000

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
        self.refused: dict[str, str] = {}
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

    def tell_refused(self, name: str, problem: str) -> None:
        """Note an object that cannot be stored; the log hears of it once."""
        self.written["refused"] += 1
        if self.refused.pop(name, None) != problem:
            _log.warning("object from the cloud is not stored", object=name, problem=problem)
        self.refused[name] = problem
        if len(self.refused) > _REFUSED_REMEMBERED:
            del self.refused[next(iter(self.refused))]


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
        for name in batch.stored:
            parent.refused.pop(name, None)
        for name, problem in batch.refused.items():
            parent.tell_refused(name, problem)
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
        derivation = Derivation(transaction)
        for message in messages:
            resource = message.route.resource
            try:
                if resource == SYNC:
                    self._mark(transaction, derivation, message)
                else:
                    self.synced = False
                    self._take(transaction, derivation, message)
            except (MessageError, FieldError, RefusedError) as problem:
                self.refused[resource] = str(problem)
            else:
                self.stored.add(resource)
        for refused in derivation.finish_where_possible():
            what, _, why = refused.problem.partition(": ")
            self.refused[what] = why

    def _mark(self, transaction: Transaction, derivation: Derivation, message: Message) -> None:
        if message.route.operation == Operation.RESPONSE:
            begin = _content(message, SyncBegin)
            self.cloud_store = begin.store
            self.named = set() if begin.full else None
            return
        mark = _content(message, SyncMark)
        if not self.cloud_store:
            raise RefusedError(Code.BAD_REQUEST, "the end of a list that has not begun")
        if mark.synced and self.named is not None:
            self._sweep(transaction, derivation, self.named)
            self.named = None
        self.synced = mark.synced
        if self.named is None:
            self.position = SyncPosition(self.cloud_store, mark.revision)
            transaction.note_position(self.position)

    def _sweep(
        self, transaction: Transaction, derivation: Derivation, named: set[ObjectKey]
    ) -> None:
        for key in transaction.synced_keys():
            if key not in named:
                self._delete(transaction, derivation, key)
                self.swept += 1

    def _take(self, transaction: Transaction, derivation: Derivation, message: Message) -> None:
        path = message.resource
        key = key_of(path)
        match message.route.operation:
            case Operation.INSERT | Operation.UPDATE:
                # Whatever it is like, the cloud has it: what is stored of it is not to be swept.
                if self.named is not None:
                    self.named.add(key)
                self._put(transaction, derivation, key, _body(message, path, key))
                self.written["stored"] += 1
            case Operation.DELETE:
                if self.named is not None:
                    self.named.discard(key)
                self._delete(transaction, derivation, key, _uid_of(message))
            case operation:
                raise RefusedError(Code.BAD_REQUEST, f"operation {operation!r} is unknown")

    def _put(
        self,
        transaction: Transaction,
        derivation: Derivation,
        key: ObjectKey,
        body: dict[str, Any],
    ) -> None:
        existing = transaction.get(key)
        uid = body["metadata"].get("uid")
        is_other = uid is not None and (existing is None or uid != existing.uid)
        if is_other and (holder := transaction.holder_of(uid)) is not None:
            raise RefusedError(Code.CONFLICT, f"metadata.uid: {uid} is the one of {holder}")
        if existing is not None and existing.origin is Origin.APPLIED:
            self.replaced.append(key)
        if existing is not None and is_other:
            # Another object of the same name: it was deleted and made anew, or applied here.
            transaction.delete(existing)
            derivation.note(existing, None)
            existing = None
        new = transaction.put(key, body, Origin.SYNCED, existing)
        if new is existing:
            return
        if key.kind == "Service":
            transaction.allocate(new.uid, _unclaimed(transaction, new))
        derivation.note(existing, new)

    def _delete(
        self, transaction: Transaction, derivation: Derivation, key: ObjectKey, uid: str = ""
    ) -> None:
        existing = transaction.get(key)
        if existing is None or existing.origin is not Origin.SYNCED:
            return
        # What is said late of a predecessor does not mean its successor.
        if not uid or uid == existing.uid:
            transaction.delete(existing)
            derivation.note(existing, None)
            self.written["deleted"] += 1


def _unclaimed(transaction: Transaction, service: KubeObject) -> list[str]:
    """The Service's addresses and node ports, but for those that one applied here has taken.

    Which of the two then answers calls is decided as for all addresses that are contested.
    """
    free = {None, service.key}
    return [one for one in named_values(service.body) if transaction.owner_of(one) in free]


def _body(message: Message, path: ResourcePath, key: ObjectKey) -> dict[str, Any]:
    """The object that a Message carries, complete and checked.

    Raises:
        MessageError, FieldError, RefusedError: it cannot be stored.
    """
    value = message.value()
    if not isinstance(value, dict) or not isinstance(value.get("metadata"), dict):
        raise RefusedError(Code.INVALID, "the content is not an object with metadata")
    kind = kind_of_word(path.type)
    # KubeEdge leaves these out of some objects.
    body = {"apiVersion": kind.api_versions[0], "kind": kind.name, **value}
    metadata = _metadata(value["metadata"], key)
    body["metadata"] = metadata
    if kind_of(body) is not kind:
        raise RefusedError(Code.INVALID, f"the content is a {body['kind']}")
    if metadata.get("name") != key.name or metadata.get("namespace", "") != key.namespace:
        raise RefusedError(Code.INVALID, "the content is an object of another name")
    validate(body)
    return body


def _uid_of(message: Message) -> str:
    """The uid of a deleted object, "" where the cloud does not tell it."""
    match message.value():
        case {"metadata": {"uid": str(uid)}}:
            return uid
    return ""


def _metadata(sent: Mapping[str, Any], key: ObjectKey) -> dict[str, Any]:
    metadata = {name: value for name, value in sent.items() if value is not None}
    if key.namespace:
        metadata.setdefault("namespace", key.namespace)
    uid = metadata.get("uid", "")
    if not isinstance(uid, str) or len(uid) > _LONGEST_UID:
        raise FieldError("metadata.uid", f"expected at most {_LONGEST_UID} characters")
    if not uid:
        metadata.pop("uid", None)
    return metadata


def _content(message: Message, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(message.content, type=kind)
    except msgspec.MsgspecError as error:
        raise MessageError(f"content: {error}") from error
