"""Manifests: what an operator writes, read into checked objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgemesh.model.errors import OperatorError
from edgemesh.model.objects import ObjectKey
from edgemesh.model.settings import ManifestLimits
from edgemesh.wire.documents import Document, DocumentError
from edgemesh.wire.json_stream import looks_like_json, read_json
from edgemesh.wire.kubernetes import FieldError, FieldProblem, examine, kind_of
from edgemesh.wire.quoting import quote
from edgemesh.wire.yaml_stream import read_yaml


@dataclass(frozen=True, slots=True)
class ManifestObject:
    """One object of a manifest.

    Args:
        key: its name, with the namespace that it goes to.
        body: the whole object as JSON values, its namespace filled in.
        document: the number of the document that it stands in, from 1.
        file: the name of the file.
        problems: what is passed over in a policy object.
    """

    key: ObjectKey
    body: dict[str, Any]
    document: int
    file: str
    problems: tuple[FieldProblem, ...] = ()


def read_manifest(
    data: bytes, name: str, limits: ManifestLimits, namespace: str = "default"
) -> list[ManifestObject]:
    """The objects of a YAML stream or of JSON, in their order, with every ``List`` taken apart.

    Args:
        data: the file's content. Whoever reads it compares its size with ``limits.max_bytes``
            first, and hands over no more than one byte beyond.
        name: of the file, for messages.
        limits: what the manifest may ask for.
        namespace: for namespaced objects that name none; those of the cluster get "".

    Raises:
        OperatorError: one line with file, document and field or line and column.
    """
    if len(data) > limits.max_bytes:
        raise OperatorError(f"{name}: larger than {limits.max_bytes} bytes")
    read = read_json if looks_like_json(data) else read_yaml
    objects: list[ManifestObject] = []
    try:
        for document in read(data, limits):
            objects += _objects(document, name, namespace)
            if max(document.number, len(objects)) > limits.max_documents:
                raise OperatorError(f"{name}: more than {limits.max_documents} documents")
    except DocumentError as error:
        raise OperatorError(f"{name}: {error}") from None
    return objects


def _objects(document: Document, file: str, namespace: str) -> Iterator[ManifestObject]:
    for place, body in _bodies(document):
        try:
            yield _object(body, file, namespace, document.number)
        except FieldError as error:
            raise DocumentError(f"{place}{error}", document.number) from None


def _bodies(document: Document) -> list[tuple[str, dict[str, Any]]]:
    """The objects of a document, each with where it stands in it."""
    value = document.value
    if value is None:
        return []
    if not isinstance(value, dict):
        raise DocumentError(f"expected a mapping, got {quote(value)}", document.number)
    if value.get("kind") != "List":
        return [("", value)]
    items = value.get("items") or []
    if not isinstance(items, list):
        raise DocumentError(f"items: expected a list, got {quote(items)}", document.number)
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            problem = f"items[{index}]: expected a mapping, got {quote(item)}"
            raise DocumentError(problem, document.number)
    return [(f"items[{index}].", item) for index, item in enumerate(items)]


def _object(body: dict[str, Any], file: str, namespace: str, document: int) -> ManifestObject:
    kind = kind_of(body)
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        placed = {key: value for key, value in metadata.items() if key != "namespace"}
        if kind.namespaced:
            placed["namespace"] = metadata.get("namespace") or namespace
        body = {**body, "metadata": placed}
    view, problems = examine(body)
    key = ObjectKey(kind.name, view.metadata.namespace, view.metadata.name)
    return ManifestObject(key, body, document, file, problems)
