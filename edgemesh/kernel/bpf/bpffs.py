"""The BPF file system, in which programs, links and maps have names and outlive processes."""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgemesh.kernel.mounts import file_system
from edgemesh.model.errors import OperatorError

USUAL_MOUNT = Path("/sys/fs/bpf")
_FLAGS = 0x2 | 0x4 | 0x8  # MS_NOSUID, MS_NODEV, MS_NOEXEC


def in_bpf_file_system(directory: Path) -> bool:
    """Whether something could be pinned there."""
    return file_system(directory) == "bpf"


def mount_if_missing(directory: Path) -> None:
    """See to it that something can be pinned there: mount a BPF file system at its usual place.

    Raises:
        OperatorError: it would have to be elsewhere, or cannot be mounted.
    """
    try:
        with _alone():
            if not in_bpf_file_system(directory):
                _mount(directory)
    except OSError as error:
        raise OperatorError(f"{USUAL_MOUNT}: {error.strerror}", "run as root") from error


def could_be_mounted(directory: Path) -> bool:
    """Whether a file system at the usual place would do, and nothing is in its way."""
    inside = USUAL_MOUNT in directory.parents
    return inside and USUAL_MOUNT.is_dir() and not any(USUAL_MOUNT.iterdir())


def _mount(directory: Path) -> None:
    problem = f"bpf.directory {directory} is in no BPF file system"
    if not could_be_mounted(directory):
        raise OperatorError(problem, f"mount -t bpf bpf {USUAL_MOUNT}, or set bpf.directory")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bpf", os.fsencode(USUAL_MOUNT), b"bpf", _FLAGS, b"mode=0700"):
        why = os.strerror(ctypes.get_errno())
        raise OperatorError(f"{problem}, and none can be mounted at {USUAL_MOUNT}: {why}")


@contextmanager
def _alone() -> Iterator[None]:
    """Keep others from mounting meanwhile: a second mount would cover the first one's pins."""
    # The lock is on the directory above: the mount does not cover that.
    lock = os.open(USUAL_MOUNT.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
