"""Programs of others where ours go: named, so that an operator can decide, and left alone.

The kernel runs several programs at a cgroup where each of them was attached so that it allows
others. One that was not keeps ours away, there and in all cgroups below it (EPERM).
Source: kernel/bpf/cgroup.c, hierarchy_allows_attach() and __cgroup_bpf_attach().
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from edgemesh.kernel.bpf.programs import GROUPS
from edgemesh.kernel.bpf.syscall import (
    AttachType,
    ProgramInfo,
    ProgramType,
    attach_flags,
    open_pinned,
    prog_fd_by_id,
    prog_ids,
    prog_info,
    prog_query,
)

_ALLOWS_OVERRIDE = 1  # BPF_F_ALLOW_OVERRIDE
_ALLOWS_OTHERS = 2  # BPF_F_ALLOW_MULTI
_ON_SOCKMAPS = frozenset({ProgramType.SK_SKB, ProgramType.SK_MSG})


class ForeignProgram(NamedTuple):
    """A program of somebody else.

    Args:
        id: by which bpftool knows it.
        name: in C, the first 15 characters.
        hook: where it is attached: ``cgroup_inet4_connect``; its type for one of a sockmap.
        cgroup: where it is attached; None for one of a sockmap.
        exclusive: it keeps ours away.
    """

    id: int
    name: str
    hook: str
    cgroup: Path | None
    exclusive: bool

    def __str__(self) -> str:
        """For messages to people."""
        where = "" if self.cgroup is None else f" at {self.cgroup}"
        return f"{self.name or 'a program without a name'} (id {self.id}, {self.hook}{where})"


def cgroup_hooks() -> list[AttachType]:
    """The hooks of cgroups that our programs are attached to."""
    programs = [program for group in GROUPS for program in group.programs]
    return sorted({each.attach_type for each in programs if each.attach_to == "cgroup"})


def foreign_at_cgroup(
    cgroup: Path, hooks: Sequence[AttachType], own: Collection[int]
) -> list[ForeignProgram]:
    """Programs of others that see the calls of a cgroup.

    Args:
        cgroup: a directory of a cgroup v2 hierarchy.
        hooks: which are looked at; those that the kernel does not know are passed over.
        own: ids of our programs.

    Raises:
        OSError: the directory cannot be opened, or the privilege is missing (EPERM).
    """
    return [
        program
        for place in _upwards(cgroup)
        for hook in hooks
        for program in _attached(place, hook, own, above=place != cgroup)
    ]


def foreign_on_sockmaps(own: Collection[int]) -> list[ForeignProgram]:
    """Programs of others for sockmaps; a socket can be in one sockmap with a program alone.

    Args:
        own: ids of our programs.

    Raises:
        OSError: the privilege is missing (EPERM).
    """
    found = [info for info in map(_info_of, prog_ids()) if info is not None]
    return [
        ForeignProgram(info.id, info.name, ProgramType(info.type).name.lower(), None, False)
        for info in found
        if info.type in _ON_SOCKMAPS and info.id not in own
    ]


def pinned_programs(directory: Path) -> frozenset[int]:
    """The ids of all programs that are pinned below a directory; none where there is none."""
    return frozenset(_pinned(directory))


def _pinned(directory: Path) -> Iterator[int]:
    for path in directory.rglob("*"):
        if path.is_dir():
            continue
        try:
            fd = open_pinned(path)
        except FileNotFoundError:
            # It is being unloaded.
            continue
        with _closing(fd):
            # Maps and links are pinned there as well: proc(5) tells them apart.
            if Path(f"/proc/self/fd/{fd}").readlink().name == "anon_inode:bpf-prog":
                yield prog_info(fd).id


def _upwards(cgroup: Path) -> Iterator[Path]:
    """A cgroup and those above it, as far as they can be seen."""
    while (cgroup / "cgroup.controllers").exists():
        yield cgroup
        cgroup = cgroup.parent


def _attached(
    cgroup: Path, hook: AttachType, own: Collection[int], *, above: bool
) -> Iterator[ForeignProgram]:
    with _closing(os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)) as fd:
        try:
            ids, flags = prog_query(fd, hook), attach_flags(fd, hook)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return
    # What may be overridden from below keeps others away from its own cgroup alone.
    exclusive = not flags & (_ALLOWS_OTHERS | (_ALLOWS_OVERRIDE if above else 0))
    for info in map(_info_of, ids):
        if info is not None and info.id not in own:
            yield ForeignProgram(info.id, info.name, hook.name.lower(), cgroup, exclusive)


def _info_of(program_id: int) -> ProgramInfo | None:
    """What the kernel tells about a program; None when it is gone by now."""
    try:
        fd = prog_fd_by_id(program_id)
    except FileNotFoundError:
        return None
    with _closing(fd):
        return prog_info(fd)


@contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)
