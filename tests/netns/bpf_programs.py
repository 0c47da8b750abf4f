"""BPF programs of somebody else, loaded without a compiler, and cgroups to attach them to."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from uuid import uuid4

from edgemesh.kernel.bpf.syscall import AttachType, Command, ProgramType, address, bpf, packed

# r0 = 1; exit (include/uapi/linux/bpf.h, BPF_ALU64 | BPF_MOV | BPF_K and BPF_JMP | BPF_EXIT).
_LET_PASS = struct.pack("=BBhi", 0xB7, 0, 0, 1) + struct.pack("=BBhi", 0x95, 0, 0, 0)
_PROG_LOAD = cast("Command", 5)


@contextmanager
def loaded_program(
    name: str, type_: ProgramType, attach_type: AttachType | None = None
) -> Iterator[int]:
    """The descriptor of a program that lets everything pass."""
    fd = bpf(
        _PROG_LOAD,
        packed(
            "=IIQQIIQII16sII",
            type_,
            len(_LET_PASS) // 8,
            address(_LET_PASS),
            address(b"GPL\0"),
            0,
            0,
            0,
            0,
            0,
            name.encode(),
            0,
            attach_type or 0,
        ),
    )
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def made_cgroup(above: Path | None = None) -> Iterator[Path]:
    """A cgroup of the test's own, below the root or another one; empty at the end."""
    cgroup = (above or hierarchy()) / f"test-{uuid4().hex[:12]}"
    cgroup.mkdir()
    try:
        yield cgroup
    finally:
        cgroup.rmdir()


@contextmanager
def opened(cgroup: Path) -> Iterator[int]:
    fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def hierarchy() -> Path:
    """Where cgroup v2 is mounted."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return next(Path(where) for _, where, kind, *_ in mounts if kind == "cgroup2")
