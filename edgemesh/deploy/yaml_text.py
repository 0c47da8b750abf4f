"""YAML of operators and of the chart, read as Kubernetes reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import ManifestLimits
from edgemesh.wire.documents import DocumentError
from edgemesh.wire.yaml_stream import read_yaml

_LIMITS = ManifestLimits()


def read_documents(data: bytes, name: str) -> list[Any]:
    """The values of all documents; None for an empty one.

    Args:
        data: the file's content.
        name: of the file, for messages.

    Raises:
        OperatorError: it is not YAML, or asks too much of its reader.
    """
    try:
        return [document.value for document in read_yaml(data, _LIMITS)]
    except DocumentError as error:
        raise OperatorError(f"{name}: {error}") from error


def read_mapping(data: bytes, name: str) -> dict[str, Any]:
    """The one document, which is a mapping; an empty file is an empty one.

    Raises:
        OperatorError: it is something else.
    """
    found = [value for value in read_documents(data, name) if value is not None]
    if not found:
        return {}
    if len(found) > 1 or not isinstance(found[0], dict):
        raise OperatorError(f"{name}: expected one mapping")
    return found[0]


def read_file(path: Path) -> bytes:
    """A file's content.

    Blocks, which a command that has nothing else to do may.

    Raises:
        OperatorError: it cannot be read, or is too long.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LIMITS.max_bytes + 1)
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}") from error
    if len(data) > _LIMITS.max_bytes:
        raise OperatorError(f"{path}: more than the {_LIMITS.max_bytes} bytes that are read")
    return data
