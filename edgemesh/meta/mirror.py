"""The store as the mirror of an API server: what reflectors hand on, and what they say is gone.

EndpointSlices come from there, too, so none are derived from Pods: of those, perhaps only this
node's are known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import trio

from edgemesh.meta.addresses import named_values
from edgemesh.meta.derivation import Derivation
from edgemesh.meta.errors import Code, RefusedError
from edgemesh.meta.refused import RefusedObjects
from edgemesh.meta.synced import SyncedObjects, complete_body
from edgemesh.model.kinds import Kind, find_kind
from edgemesh.model.objects import ObjectKey
from edgemesh.model.reflection import Change, Name, Resource
from edgemesh.model.sync import SyncPosition
from edgemesh.observe.log import get_logger
from edgemesh.policy.mirrored import kept, with_own_annotations
from edgemesh.policy.selection import chooses
from edgemesh.store.errors import StoreError
from edgemesh.store.store import Store
from edgemesh.store.transaction import Transaction
from edgemesh.wire.kubernetes import FieldError

_log = get_logger("mirror")


class Mirror:
    """Where reflectors put what they learn: see `edgemesh.cloud.sink.Sink`.

    Args:
        store: that is written to.
        retry_seconds: between two tries of a write that the database has refused.

    Attributes:
        written: objects, by what became of them.
    """

    def __init__(self, store: Store, retry_seconds: float) -> None:
        self._store = store
        self._retry_seconds = retry_seconds
        self._refused = RefusedObjects[ObjectKey]("API server")
        self.written: Counter[str] = Counter()

    @property
    def refused(self) -> Mapping[ObjectKey, str]:
        """Objects that cannot be stored, the latest of them, and why."""
        return self._refused.latest

    async def begin(self) -> None:
        """Begin to follow a server: how far a cloud was followed before means nothing any more."""
        await self._write(lambda batch: batch.forget_position())

    async def change(self, resource: Resource, changes: Sequence[Change]) -> None:
        """Write changes; when this returns they are on disk.

        What cannot be stored is told and passed over: the version before it stays.
        """
        kind = _kind_of(resource)
        # What a later change makes void need not be written.
        last = {_key_of(kind, change.body): change for change in changes}
        await self._write(lambda batch: batch.take(kind, last))

    async def keep_only(self, resource: Resource, names: Collection[Name]) -> None:
        """Delete what a resource has had beyond these."""
        kind = _kind_of(resource)
        await self._write(lambda batch: batch.sweep(kind, names, _chosen_by(resource)))
        for key in [key for key in self.refused if key.kind == kind.name]:
            if Name(key.namespace, key.name) not in names:
                self._refused.discard(key)

    async def narrow(self, resource: Resource) -> None:
        """Delete objects of a resource's kind that its selectors do not choose."""
        chosen = _chosen_by(resource)
        if chosen is None:
            return

        def others(body: Mapping[str, Any]) -> bool:
            return not chosen(body)

        kind = _kind_of(resource)
        await self._write(lambda batch: batch.sweep(kind, (), others))

    async def missing(self, resource: Resource) -> None:
        """Let everything stay: who takes a kind away means its objects no harm."""
        _log.info("the API server does not serve this", path=resource.path)
        await trio.lowlevel.checkpoint()

    async def _write(self, work: Callable[[_Batch], None]) -> None:
        batch = await self._transact(work)
        self.written.update(batch.written)
        for key in batch.settled:
            self._refused.discard(key)
        for key, problem in batch.refused.items():
            self._refused.add(key, problem)
        for key in batch.replaced:
            _log.warning("object that was applied here is replaced", object=str(key))
        for problem in batch.underived:
            _log.warning("endpoints are not derived", problem=problem)
        if batch.swept:
            _log.info("objects that the API server has no more are gone", count=batch.swept)

    async def _transact(self, work: Callable[[_Batch], None]) -> _Batch:
        warned = False
        while True:
            try:
                batch, _ = await self._store.transact(lambda transaction: _done(transaction, work))
            except StoreError as error:
                if not warned:
                    _log.warning("changes of the API server wait", problem=error.problem)
                warned = True
                await trio.sleep(self._retry_seconds)
            else:
                return batch


class _Batch:
    """One transaction's work, and what came of it; lives in the writer thread."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        derivation = None
        if transaction.has_own_services():
            derivation = Derivation(transaction, for_synced=False)
        self._objects = SyncedObjects(transaction, derivation)
        self.written: Counter[str] = Counter()
        self.settled: set[ObjectKey] = set()
        self.refused: dict[ObjectKey, str] = {}
        self.underived: list[str] = []
        self.swept = 0

    @property
    def replaced(self) -> Sequence[ObjectKey]:
        """Objects that were applied here and are not any more."""
        return self._objects.replaced

    def forget_position(self) -> None:
        """See `Mirror.begin`."""
        self._transaction.note_position(SyncPosition())

    def take(self, kind: Kind, changes: Mapping[ObjectKey, Change]) -> None:
        """Write changes of objects of one kind."""
        bodies = {key: self._body(kind, key, change) for key, change in changes.items()}
        found = [body for body in bodies.values() if body is not None]
        uids = [body["metadata"]["uid"] for body in found if "uid" in body["metadata"]]
        values = [each for body in found if kind.name == "Service" for each in named_values(body)]
        self._transaction.load(kind.name, list(changes), uids, values)
        for key, body in bodies.items():
            change = changes[key]
            if change.deleted:
                self._objects.delete(key, change.body["metadata"].get("uid") or "")
            elif body is not None:
                self._put(key, body)
            if key not in self.refused:
                self.settled.add(key)

    def sweep(
        self,
        kind: Kind,
        names: Collection[Name],
        chosen: Callable[[Mapping[str, Any]], bool] | None,
    ) -> None:
        """Delete what is not named, of a kind or of what is chosen of it."""
        if chosen is None:
            present = self._transaction.synced_keys(kind.name)
        else:
            stored = self._transaction.synced_objects(kind.name)
            present = (one.key for one in stored if chosen(one.body))
        named = {ObjectKey(kind.name, *name) for name in names}
        self.swept = self._objects.sweep(present, named)

    def finish(self) -> None:
        """Bring up to date what derives from what was written."""
        self.underived = [refused.problem for refused in self._objects.finish()]
        self.written["deleted"] += self._objects.deleted
        self.written["refused"] += len(self.refused)

    def _body(self, kind: Kind, key: ObjectKey, change: Change) -> dict[str, Any] | None:
        """What is to be stored, None for nothing."""
        if change.deleted:
            return None
        try:
            return complete_body(kind, key, kept(kind, change.body))
        except (FieldError, RefusedError) as problem:
            self.refused[key] = str(problem)
            return None

    def _put(self, key: ObjectKey, body: dict[str, Any]) -> None:
        if key.kind == "Node" and (present := self._transaction.get(key)) is not None:
            body = with_own_annotations(body, present.body)
        try:
            self._objects.put(key, body)
        except RefusedError as problem:
            self.refused[key] = str(problem)
        else:
            self.written["stored"] += 1


def _done(transaction: Transaction, work: Callable[[_Batch], None]) -> _Batch:
    batch = _Batch(transaction)
    work(batch)
    batch.finish()
    return batch


def _chosen_by(resource: Resource) -> Callable[[Mapping[str, Any]], bool] | None:
    """What tells the objects that a resource's selectors choose; None where it has no selectors."""
    if not (resource.field_selector or resource.label_selector):
        return None
    return lambda body: chooses(resource, body)


def _kind_of(resource: Resource) -> Kind:
    kind = find_kind(resource.kind)
    if kind is None:
        raise RefusedError(Code.INVALID, f"{resource.path} is of no kind that edgemesh keeps")
    return kind


def _key_of(kind: Kind, body: Mapping[str, Any]) -> ObjectKey:
    metadata = body["metadata"]
    return ObjectKey(kind.name, metadata.get("namespace") or "", metadata["name"])
