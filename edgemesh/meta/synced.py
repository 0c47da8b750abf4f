"""Objects that come from above (the cloud, an API server), as they are put into the store.

They keep the uid and the body that they have there. They replace objects of the same name that
were applied here; nothing that is applied here replaces them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from edgemesh.meta.addresses import named_values
from edgemesh.meta.derivation import Derivation
from edgemesh.meta.errors import Code, RefusedError
from edgemesh.model.kinds import Kind
from edgemesh.model.objects import KubeObject, ObjectKey, Origin
from edgemesh.store.transaction import Transaction
from edgemesh.wire.kubernetes import FieldError, kind_of, validate

_LONGEST_UID = 36


class SyncedObjects:
    """What one transaction does with such objects; lives in the writer thread.

    Args:
        transaction: of the write.
        derivation: what follows from Services and Pods; None where nothing does.

    Attributes:
        replaced: objects that were applied here and are not any more.
        deleted: how many are gone.
    """

    def __init__(self, transaction: Transaction, derivation: Derivation | None) -> None:
        self._transaction = transaction
        self._derivation = derivation
        self.replaced: list[ObjectKey] = []
        self.deleted = 0

    def put(self, key: ObjectKey, body: dict[str, Any]) -> None:
        """Insert or replace an object.

        Args:
            key: its name.
            body: as `complete_body` returns it.

        Raises:
            RefusedError: another object has its uid.
        """
        transaction = self._transaction
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
            self._note(existing, None)
            existing = None
        new = transaction.put(key, body, Origin.SYNCED, existing)
        if new is existing:
            return
        if key.kind == "Service":
            self._claim(existing, new)
        self._note(existing, new)

    def delete(self, key: ObjectKey, uid: str = "") -> None:
        """Delete an object that came from above; others are left alone.

        Args:
            key: its name.
            uid: its own; "" where it is not known.
        """
        existing = self._transaction.get(key)
        if existing is None or existing.origin is not Origin.SYNCED:
            return
        # What is said late of a predecessor does not mean its successor.
        if not uid or uid == existing.uid:
            self._transaction.delete(existing)
            self._note(existing, None)
            self.deleted += 1

    def sweep(self, keys: Iterable[ObjectKey], named: Container[ObjectKey]) -> int:
        """Delete those that were not named.

        Returns:
            How many.
        """
        before = self.deleted
        for key in keys:
            if key not in named:
                self.delete(key)
        return self.deleted - before

    def finish(self) -> Iterator[RefusedError]:
        """Bring up to date what derives from what was written; tell of what cannot be."""
        return iter(()) if self._derivation is None else self._derivation.finish_where_possible()

    def _note(self, before: KubeObject | None, after: KubeObject | None) -> None:
        if self._derivation is not None:
            self._derivation.note(before, after)

    def _claim(self, before: KubeObject | None, service: KubeObject) -> None:
        """Give a Service its addresses and node ports, but for those that one applied here has.

        Which of the two then answers calls is decided as for all addresses that are contested.
        """
        transaction = self._transaction
        named = named_values(service.body)
        owners = {value: transaction.owner_of(value) for value in named}
        given_up = set(named_values(before.body)) - owners.keys() if before is not None else ()
        if given_up or any(owner != service.key for owner in owners.values()):
            free = [value for value, owner in owners.items() if owner in {None, service.key}]
            transaction.allocate(service, free)


def complete_body(kind: Kind, key: ObjectKey, sent: Mapping[str, Any]) -> dict[str, Any]:
    """An object from above, complete and checked.

    Args:
        kind: that it has to be of.
        key: the name that it has to have.
        sent: the object; lists leave out what all of their items say.

    Raises:
        FieldError, RefusedError: it cannot be stored.
    """
    body = {"apiVersion": kind.api_versions[0], "kind": kind.name, **sent}
    metadata = body["metadata"] = _metadata(sent["metadata"], key)
    if kind_of(body) is not kind:
        raise RefusedError(Code.INVALID, f"the content is a {body['kind']}")
    if metadata.get("name") != key.name or metadata.get("namespace", "") != key.namespace:
        raise RefusedError(Code.INVALID, "the content is an object of another name")
    validate(body)
    return body


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
