"""What is pinned, looked at one by one: for people and for programs that show it to them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgemesh.kernel.bpf.maps import Map, MapType
from edgemesh.kernel.bpf.pins import CURRENT, LINKS, MAPS, PROGRAMS
from edgemesh.kernel.bpf.syscall import ProgramType, open_pinned, prog_info

_OWN_DESCRIPTORS = Path("/proc/self/fdinfo")


@dataclass(frozen=True, slots=True)
class PinnedMap:
    """A map: its kind, how much it may hold, and the bytes of kernel memory that it takes now."""

    name: str
    kind: str
    max_entries: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class PinnedProgram:
    """A program: its kind, the kernel's number for it, and whether a link attaches it."""

    name: str
    kind: str
    id: int
    linked: bool


@dataclass(frozen=True, slots=True)
class Pinned:
    """Everything that is loaded."""

    programs: list[PinnedProgram]
    maps: list[PinnedMap]


def list_pinned(directory: Path) -> Pinned:
    """Look at everything that is loaded; a few milliseconds.

    Args:
        directory: of the settings.

    Raises:
        OSError: what is there cannot be opened, or has just been removed.
    """
    current = directory / CURRENT
    links = {path.name for path in (current / LINKS).iterdir()}
    return Pinned(
        [_program(path, path.name in links) for path in sorted((current / PROGRAMS).iterdir())],
        [_map(path) for path in sorted((current / MAPS).iterdir())],
    )


def _program(path: Path, linked: bool) -> PinnedProgram:
    with _opened(path) as program:
        info = prog_info(program)
    return PinnedProgram(path.name, ProgramType(info.type).name.lower(), info.id, linked)


def _map(path: Path) -> PinnedMap:
    with Map.open(path) as each:
        kind = MapType(each.type).name.lower()
        return PinnedMap(path.name, kind, each.max_entries, _memory_bytes(each.fd))


def _memory_bytes(fd: int) -> int:
    # Documentation/filesystems/proc.rst leaves it out; kernel/bpf/syscall.c writes it.
    found = re.search(r"^memlock:\s*(\d+)$", (_OWN_DESCRIPTORS / str(fd)).read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = open_pinned(path)
    try:
        yield fd
    finally:
        os.close(fd)
