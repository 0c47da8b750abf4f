"""Rows in, model values out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Row

from edgemesh.model.objects import KubeObject, ObjectKey, Origin
from edgemesh.store.tables import ObjectRow

OBJECT_COLUMNS = (
    ObjectRow.kind,
    ObjectRow.namespace,
    ObjectRow.name,
    ObjectRow.uid,
    ObjectRow.resource_version,
    ObjectRow.origin,
    ObjectRow.body,
)


class Scope(NamedTuple):
    """Which objects are meant; "" means any."""

    kind: str = ""
    namespace: str = ""
    name: str = ""


def object_from_row(row: Row[*tuple[Any, ...]]) -> KubeObject:
    """One object from OBJECT_COLUMNS, in their order, and any that follow."""
    kind, namespace, name, uid, resource_version, origin, body = row[: len(OBJECT_COLUMNS)]
    return make_object(
        ObjectKey(kind, namespace, name),
        uid,
        resource_version,
        Origin(origin),
        msgspec.json.decode(body),
    )


def make_object(
    key: ObjectKey, uid: str, resource_version: int, origin: Origin, body: dict[str, Any]
) -> KubeObject:
    """One object; its body is given the resource version, in place."""
    body["metadata"]["resourceVersion"] = str(resource_version)
    labels = text_values(body["metadata"].get("labels"))
    return KubeObject(key, uid, resource_version, labels, body, origin)


def text_values(mapping: dict[str, Any] | None) -> dict[str, str]:
    """Labels or a selector; null counts as absent, as in the Kubernetes API."""
    return {key: value for key, value in (mapping or {}).items() if value is not None}


def encode_body(body: Mapping[str, Any]) -> str:
    """A body as it is kept: JSON without the resource version."""
    metadata = {
        name: value for name, value in body["metadata"].items() if name != "resourceVersion"
    }
    return msgspec.json.encode({**body, "metadata": metadata}).decode()
