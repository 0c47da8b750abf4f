"""What the cloud answers to Applications: reading the Kubernetes API out of our own store.

Nodes get and list; a watch is refused, and so is every write. MetaServer then answers from what
it has, and asks for a list again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from edgemesh.model.errors import OperatorError
from edgemesh.model.kinds import Kind, find_kind
from edgemesh.wire.kubeedge.answers import failure, not_found
from edgemesh.wire.kubeedge.application import (
    PLAIN_KEYS,
    AppKey,
    Application,
    Verb,
    approve,
    reject,
)
from edgemesh.wire.labelselector import parse_selector, selects
from edgemesh.wire.message import MessageError

Body = Mapping[str, Any]

# CloudCore's words for a resource that the API server does not have (captures, point 23).
_UNKNOWN = "get current list error: the server could not find the requested resource"
_PLAIN_ANSWERS = {"/version": b'{"gitVersion":"edgemesh"}', "/healthz": b"ok"}
_NAME_FIELDS = ("metadata.name", "metadata.namespace")


class Objects(Protocol):
    """The objects that nodes may read."""

    @property
    def revision(self) -> int:
        """Of the store, that all of them are of."""

    def get(self, kind: str, namespace: str, name: str) -> Body | None:
        """One object; namespace "" where the kind has none."""

    def list(self, kind: str, namespace: str) -> list[Body]:
        """All objects of a kind, of one namespace or, for "", of every one."""


def answer_application(asked: Application, objects: Objects) -> Application:
    """Answer a request that ``authorization.refuse`` has let pass.

    Args:
        asked: the request.
        objects: of the store.

    Raises:
        MessageError: its key or its options cannot be read.
    """
    if asked.key in PLAIN_KEYS:
        plain = _PLAIN_ANSWERS.get(asked.key)
        return reject(asked, _UNKNOWN) if plain is None else approve(asked, plain)
    key = asked.asked_of
    kind = _kind_of(key)
    if kind is None:
        return reject(asked, _UNKNOWN)
    if asked.verb == Verb.GET:
        return _get(asked, key, kind, objects)
    if asked.verb == Verb.LIST:
        return _list(asked, key, kind, objects)
    return refuse_application(asked, f"{asked.verb!r:.40} is not served: get and list are")


def refuse_application(asked: Application, problem: str) -> Application:
    """Answer a request that is not granted."""
    return reject(asked, status=_status(failure(403, "Forbidden", problem)))


def _get(asked: Application, key: AppKey, kind: Kind, objects: Objects) -> Application:
    found = objects.get(kind.name, key.namespace if kind.namespaced else "", key.name)
    if found is None:
        return reject(asked, status=_status(not_found(key.resource, key.name, key.group)))
    return approve(asked, msgspec.json.encode(_as_asked(found, kind, key)))


def _list(asked: Application, key: AppKey, kind: Kind, objects: Objects) -> Application:
    options = asked.options()
    try:
        labels = parse_selector(str(options.get("labelSelector") or ""))
        fields = _parse_fields(str(options.get("fieldSelector") or ""))
    except OperatorError as error:
        return reject(asked, status=_status(failure(400, "BadRequest", str(error))))
    if key.name:
        # MetaServer makes this of a field selector (captures, point 22).
        fields = {**fields, "metadata.name": key.name}
    items = [
        _as_asked(body, kind, key)
        for body in objects.list(kind.name, key.namespace if kind.namespaced else "")
        if selects(labels, _metadata(body).get("labels") or {}) and _has(body, fields)
    ]
    listed = {
        "apiVersion": _version(key),
        "items": items,
        "kind": f"{kind.name}List",
        "metadata": {"resourceVersion": str(objects.revision)},
    }
    return approve(asked, msgspec.json.encode(listed))


def _kind_of(key: AppKey) -> Kind | None:
    kind = find_kind(key.resource)
    if kind is None or kind.plural != key.resource or _version(key) not in kind.api_versions:
        return None
    return kind


def _version(key: AppKey) -> str:
    return f"{key.group}/{key.version}" if key.group else key.version


def _as_asked(body: Body, kind: Kind, key: AppKey) -> dict[str, Any]:
    """The versions of a kind that are known here have the same fields."""
    return {**body, "apiVersion": _version(key), "kind": kind.name}


def _parse_fields(text: str) -> dict[str, str]:
    fields = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or name not in _NAME_FIELDS:
            raise MessageError(f"field selector {part!r:.100} is not metadata.name=NAME")
        fields[name] = value.removeprefix("=")
    return fields


def _has(body: Body, fields: Mapping[str, str]) -> bool:
    metadata = _metadata(body)
    return all(
        str(metadata.get(name.removeprefix("metadata.")) or "") == value
        for name, value in fields.items()
    )


def _metadata(body: Body) -> Mapping[str, Any]:
    metadata: Mapping[str, Any] = body.get("metadata") or {}
    return metadata


def _status(status: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", **status}
