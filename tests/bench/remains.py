"""What benches leave behind that were killed: named after their process, removed by the next one.

Namespaces, cgroups and directories of pins begin with ``benchPID-``, temporary directories with
``bench-PID-``.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from edgemesh.kernel.mounts import mount_point
from edgemesh.lab import cgroups, network, processes
from edgemesh.lab.bpf import PINS

_OWNED = re.compile(r"bench-?(?P<pid>[0-9]+)-.*")
_PROC = Path("/proc")
_GRACE_SECONDS = 1.0


def prefix() -> str:
    """What the names of this process's namespaces, cgroups and pins begin with."""
    return f"bench{os.getpid()}-"


def temporary_directory() -> tempfile.TemporaryDirectory[str]:
    """A directory of this process for all that a bench writes; its path is short."""
    return tempfile.TemporaryDirectory(prefix=f"bench-{os.getpid()}-")


async def remove_remains() -> None:
    """End the processes and remove the files of benches whose process is gone."""
    async with _alone():
        namespaces = _of_the_dead(network.RUN_NETNS)
        await processes.end_all_in([path.name for path in namespaces], _GRACE_SECONDS)
        await trio.to_thread.run_sync(_remove, namespaces)


def _remove(namespaces: Iterable[Path]) -> None:
    for path in namespaces:
        network.delete_namespace(path.name)
    hierarchy = mount_point("cgroup2")
    for path in _of_the_dead(hierarchy) if hierarchy else ():
        cgroups.remove(path.name)
    for path in [*_of_the_dead(PINS), *_of_the_dead(Path(tempfile.gettempdir()))]:
        shutil.rmtree(path)


def _of_the_dead(directory: Path) -> list[Path]:
    """The entries of a directory that are named after a bench whose process is gone."""
    return [
        path
        for path in directory.glob("bench*")
        if (found := _OWNED.fullmatch(path.name)) and not (_PROC / found["pid"]).exists()
    ]


@asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    """Keep other benches from removing the same meanwhile."""
    descriptor = os.open(tempfile.gettempdir(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        await trio.to_thread.run_sync(fcntl.flock, descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
