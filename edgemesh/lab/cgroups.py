"""Cgroups of version 2: made, entered, removed.

Each is named by its path below the root of the hierarchy. Every function returns when the kernel
has done it. Source: kernel Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from pathlib import Path

from edgemesh.kernel.bpf.loader import cgroup_directory
from edgemesh.kernel.mounts import mount_point
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.errors import OperatorError

# For one that hangs in the kernel: others end within moments, on a busy machine within seconds.
_EMPTY_SECONDS = 60.0

# The shell is the process that becomes the program: the program begins as a member.
_ENTER = 'echo $$ >"$0" && exec "$@"'


def add(name: str) -> None:
    """Make a cgroup, and those above it that are not there; nothing happens when it is there.

    Raises:
        OperatorError: no hierarchy of version 2 is mounted.
    """
    root = cgroup_directory(BpfSettings(cgroup=""))
    (root / name).mkdir(parents=True, exist_ok=True)


def find(name: str) -> Path | None:
    """The directory of a cgroup, None when there is none."""
    root = mount_point("cgroup2")
    return root / name if root is not None and (root / name).is_dir() else None


def command_in(cgroup: Path, argv: Sequence[str]) -> list[str]:
    """The command line that runs a program in a cgroup, as the same process.

    It has to come before what changes the program's view of /sys.
    """
    return ["sh", "-c", _ENTER, str(cgroup / "cgroup.procs"), *argv]


def remove(name: str) -> None:
    """Remove a cgroup with all below it; nothing happens when there is none.

    Processes that are left in them are killed.

    Raises:
        OperatorError: one of them does not end.
    """
    cgroup = find(name)
    if cgroup is None:
        return
    # With all that is below (kernel 5.14).
    (cgroup / "cgroup.kill").write_text("1")
    _wait_until_empty(cgroup)
    # The files are the kernel's: only directories are removed, the lowest first.
    for directory, _, _ in os.walk(cgroup, topdown=False):
        Path(directory).rmdir()


def _wait_until_empty(cgroup: Path) -> None:
    """A process that has ended leaves its cgroup a moment later; the kernel tells when."""
    with (cgroup / "cgroup.events").open() as events:
        change = select.poll()
        change.register(events, select.POLLPRI)
        while "populated 1" in events.read():
            if not change.poll(_EMPTY_SECONDS * 1000):
                raise OperatorError(f"a process does not end in cgroup {cgroup}")
            events.seek(0)
