"""Which file systems are mounted where, as this process sees it."""

from __future__ import annotations

import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")


def mount_point(type_: str) -> Path | None:
    """Where a file system of this type is mounted, the first if there are several.

    Args:
        type_: ``cgroup2``, ``bpf``.
    """
    return next((point for point, each in _mounts() if each == type_), None)


def file_system(path: Path) -> str:
    """The type of the file system that a path lies in, whether or not it exists.

    Args:
        path: an absolute path.
    """
    resolved = path.resolve()
    inside = [(point, type_) for point, type_ in _mounts() if resolved.is_relative_to(point)]
    # Of those on the same directory the last one covers the others.
    return max(enumerate(inside), key=lambda each: (len(each[1][0].parts), each[0]))[1][1]


def _mounts() -> list[tuple[Path, str]]:
    rows = (line.split(" ") for line in _MOUNTS.read_text().splitlines())
    return [(Path(_unescaped(row[1])), row[2]) for row in rows]


def _unescaped(text: str) -> str:
    # proc(5): blanks in names are written in octal.
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
