"""Whether the programs that balance calls are still where they were attached.

Their links live as long as their pins: who removes those, or unmounts the BPF file system, takes
the programs away while the agent runs.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from edgemesh.kernel.bpf.programs import CONNECT
from edgemesh.kernel.bpf.syscall import prog_query


def lost_hooks(cgroup: Path, own: Collection[int]) -> list[str]:
    """The hooks at which calls should be balanced, but are not: ``cgroup_inet4_connect``.

    Args:
        cgroup: the directory that the programs were attached to.
        own: the ids of our programs.

    Raises:
        OSError: the directory is gone.
    """
    fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return [
            program.attach_type.name.lower()
            for program in CONNECT.programs
            if not set(own).intersection(prog_query(fd, program.attach_type))
        ]
    finally:
        os.close(fd)
