"""What every write passes, in its own transaction: checks, addresses, and what derives.

Runs in the store's writer thread. Whatever it raises undoes the whole transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgemesh.meta.addresses import Addresses
from edgemesh.meta.derivation import Derivation
from edgemesh.meta.errors import Code, RefusedError
from edgemesh.model.kinds import Kind
from edgemesh.model.objects import KubeObject, ObjectKey, Origin
from edgemesh.model.settings import MetaSettings
from edgemesh.store.transaction import Transaction
from edgemesh.wire.kubernetes import FieldError, kind_of, validate

# The store writes these; in a manifest, as ``get -o yaml`` prints one, they are without effect.
_MANAGED_METADATA = frozenset(
    {"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"}
)


class Controller:
    """Applies and deletes objects for the metamanager.

    Args:
        settings: the ranges of addresses and node ports.
    """

    def __init__(self, settings: MetaSettings) -> None:
        self._addresses = Addresses(settings)

    def apply(
        self, transaction: Transaction, bodies: Iterable[Any], expected: ObjectKey | None = None
    ) -> list[dict[str, Any]]:
        """Insert or replace objects.

        Args:
            transaction: of the write.
            bodies: whole objects as JSON values, not yet checked.
            expected: the name that the request gave to the one object.

        Returns:
            For each object its kind, namespace, name, result and resourceVersion.

        Raises:
            RefusedError: naming the object and the field.
        """
        derivation = Derivation(transaction)
        results = [self._apply(transaction, derivation, body, expected) for body in bodies]
        derivation.finish()
        return results

    def delete(self, transaction: Transaction, keys: Iterable[ObjectKey]) -> list[dict[str, Any]]:
        """Delete objects; what derives from them goes with them.

        Returns:
            For each object its kind, namespace, name and result.

        Raises:
            RefusedError: naming every object that is not there.
        """
        found = {key: transaction.get(key) for key in keys}
        missing = [str(key) for key, existing in found.items() if existing is None]
        if missing:
            raise RefusedError(Code.NOT_FOUND, f"{', '.join(missing)} not found", objects=missing)
        derivation = Derivation(transaction)
        for existing in found.values():
            assert existing is not None
            _require_own(existing, "delete")
            transaction.delete(existing)
            derivation.note(existing, None)
        derivation.finish()
        return [_result(key, "deleted") for key in found]

    def _apply(
        self,
        transaction: Transaction,
        derivation: Derivation,
        body: Any,
        expected: ObjectKey | None,
    ) -> dict[str, Any]:
        key, body = _checked(body, expected)
        existing = transaction.get(key)
        if existing is not None:
            _require_own(existing, "replace")
            if "status" not in body and "status" in existing.body:
                # As with Kubernetes' status subresource: applying a spec says nothing about it.
                body["status"] = existing.body["status"]
        values: list[str] = []
        if key.kind == "Service":
            body, values = self._addresses.fill(transaction, key, body, existing)
        new = transaction.put(key, body, Origin.APPLIED, existing)
        if new is existing:
            return _result(key, "unchanged", new)
        if key.kind == "Service":
            transaction.allocate(new, values)
        derivation.note(existing, new)
        return _result(key, "created" if existing is None else "configured", new)


def _checked(body: Any, expected: ObjectKey | None) -> tuple[ObjectKey, dict[str, Any]]:
    """The name of a valid object, and the object as it is to be kept."""
    if not isinstance(body, dict):
        raise RefusedError(Code.INVALID, "an object is not a JSON object")
    try:
        kind = kind_of(body)
        validate(body)
    except FieldError as error:
        raise RefusedError(Code.INVALID, f"{_describe(body)}: {error}") from error
    metadata = {
        name: value for name, value in body["metadata"].items() if name not in _MANAGED_METADATA
    }
    key = _place(kind, metadata)
    if expected is not None and key != expected:
        raise RefusedError(Code.INVALID, f"content is {key}, but resource says {expected}")
    body = {**body, "metadata": metadata}
    if kind.judged:
        # It is computed when it is asked for; ``get -o yaml`` prints it into manifests.
        body.pop("status", None)
    return key, body


def _place(kind: Kind, metadata: dict[str, Any]) -> ObjectKey:
    """The key of an object, whose metadata is given a namespace or relieved of it."""
    if not kind.namespaced:
        metadata.pop("namespace", None)
        return ObjectKey(kind.name, "", metadata["name"])
    metadata["namespace"] = metadata.get("namespace") or "default"
    return ObjectKey(kind.name, metadata["namespace"], metadata["name"])


def _describe(body: dict[str, Any]) -> str:
    """What an object that may be anything calls itself."""
    metadata = body.get("metadata")
    parts = metadata if isinstance(metadata, dict) else {}
    words = [body.get("kind"), parts.get("namespace"), parts.get("name")]
    text = "/".join(word[:253] for word in words if isinstance(word, str) and word)
    return text or "an object without kind and name"


def _require_own(existing: KubeObject, verb: str) -> None:
    if existing.origin is Origin.DERIVED:
        raise RefusedError(
            Code.CONFLICT,
            f"{existing.key} follows from a Service and its Pods: it is not to {verb} by hand",
            "change those instead, or apply a slice of another name",
        )
    if existing.origin is Origin.SYNCED:
        raise RefusedError(
            Code.CONFLICT,
            f"{existing.key} comes from the cloud: it is not to {verb} here",
            "change it in the cloud",
        )


def _result(key: ObjectKey, result: str, one: KubeObject | None = None) -> dict[str, Any]:
    answer = {"kind": key.kind, "namespace": key.namespace, "name": key.name, "result": result}
    if one is not None:
        answer["resourceVersion"] = str(one.resource_version)
    return answer
