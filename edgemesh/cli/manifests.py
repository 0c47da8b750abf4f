"""The files that ``-f`` names, read whole before anything is sent."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import ManifestLimits
from edgemesh.wire.manifest import ManifestObject, read_manifest

_SUFFIXES = {".yaml", ".yml", ".json"}


def read_manifests(
    names: Sequence[str], limits: ManifestLimits, namespace: str
) -> list[ManifestObject]:
    """Every object of the files, directories (with what is below) and ``-`` for standard input.

    Blocks, which a command that has nothing else to do may.

    Raises:
        OperatorError: naming file, document and field.
    """
    objects = [
        one
        for name in names
        for data, source in _read(name, limits.max_bytes)
        for one in read_manifest(data, source, limits, namespace)
    ]
    if not objects:
        raise OperatorError(f"{', '.join(names)}: no objects in it")
    return objects


def _read(name: str, limit: int) -> Iterator[tuple[bytes, str]]:
    if name == "-":
        yield sys.stdin.buffer.read(limit + 1), "standard input"
        return
    path = Path(name)
    for file in _files(path) if path.is_dir() else [path]:
        try:
            yield _read_file(file, limit), str(file)
        except OSError as error:
            raise OperatorError(f"{file}: {error.strerror}") from error


def _files(directory: Path) -> list[Path]:
    files = sorted(
        path for path in directory.rglob("*") if path.suffix in _SUFFIXES and path.is_file()
    )
    if not files:
        raise OperatorError(f"{directory}: no *.yaml, *.yml or *.json in it")
    return files


def _read_file(path: Path, limit: int) -> bytes:
    size = path.stat().st_size
    if size > limit:
        raise OperatorError(
            f"{path}: {size} bytes, more than the {limit} that are read",
            "split it, or raise manifest.max_bytes in the configuration",
        )
    with path.open("rb") as file:
        # A pipe has no size, and a file may grow: one byte beyond the limit tells.
        return file.read(limit + 1)
