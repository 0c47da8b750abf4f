"""The directory where everything of ours is pinned, and how it changes.

::

    DIRECTORY/current/maps/NAME  programs/NAME  links/NAME  info
    DIRECTORY/staging            what a load has made so far
    DIRECTORY/leaving            what an unload has not removed yet

``current`` is there as a whole or not at all: it comes and goes by one rename. Whoever changes
anything holds the lock on DIRECTORY, and begins by removing what a killed one left of the two
others. A BPF file system takes no names with dots, and no files but pins.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgemesh.kernel.bpf.maps import Map
from edgemesh.kernel.bpf.syscall import link_detach, open_pinned
from edgemesh.kernel.mounts import file_system
from edgemesh.model.errors import OperatorError

MAPS, PROGRAMS, LINKS, INFO = "maps", "programs", "links", "info"
CURRENT, STAGING = "current", "staging"
_LEAVING = "leaving"
_USUAL_MOUNT = Path("/sys/fs/bpf")
_MOUNT_FLAGS = 0x2 | 0x4 | 0x8  # MS_NOSUID, MS_NODEV, MS_NOEXEC


def in_bpf_file_system(directory: Path) -> bool:
    """Whether something could be pinned there."""
    return file_system(directory) == "bpf"


def mount_if_missing(directory: Path) -> None:
    """See to it that something can be pinned there: mount a BPF file system at its usual place.

    Raises:
        OperatorError: it would have to be elsewhere, or cannot be mounted.
    """
    if in_bpf_file_system(directory):
        return
    problem = f"bpf.directory {directory} is in no BPF file system"
    usual = directory.is_relative_to(_USUAL_MOUNT) and directory != _USUAL_MOUNT
    if not usual or not _USUAL_MOUNT.is_dir() or any(_USUAL_MOUNT.iterdir()):
        raise OperatorError(problem, f"mount -t bpf bpf {_USUAL_MOUNT}, or set bpf.directory")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bpf", os.fsencode(_USUAL_MOUNT), b"bpf", _MOUNT_FLAGS, b"mode=0700"):
        why = os.strerror(ctypes.get_errno())
        raise OperatorError(f"{problem}, and none can be mounted at {_USUAL_MOUNT}: {why}")


@contextmanager
def locked(directory: Path) -> Iterator[int]:
    """Hold the lock; the directory is made where it is missing and goes when it is left empty.

    Blocks while another process holds it, some seconds at most.

    Returns:
        The lock's descriptor. It is held until the last process that has it closes it.
    """
    lock = _lock(directory)
    try:
        yield lock
    finally:
        with suppress(OSError):
            directory.rmdir()
        os.close(lock)


def remove_remains(directory: Path) -> None:
    """Remove what killed processes left; the lock is held."""
    take_down(directory / STAGING)
    take_down(directory / _LEAVING)


def remove_current(directory: Path) -> bool:
    """Remove what is loaded; False where nothing was. The lock is held."""
    try:
        (directory / CURRENT).rename(directory / _LEAVING)
    except FileNotFoundError:
        return False
    take_down(directory / _LEAVING)
    return True


def take_down(tree: Path) -> None:
    """Detach and remove everything that is pinned in a directory, and the directory.

    First what is attached goes, then programs, then maps: no program meets a map that is half
    empty, and sockets that are in maps are theirs again.
    """
    for path in _entries(tree / LINKS):
        _detach(path)
        path.unlink()
    for path in _entries(tree / PROGRAMS):
        path.unlink()
    for path in _entries(tree / MAPS):
        with Map.open(path) as each:
            each.clear()
        path.unlink()
    for folder in (LINKS, PROGRAMS, MAPS):
        with suppress(FileNotFoundError):
            (tree / folder).rmdir()
    (tree / INFO).unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        tree.rmdir()


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def _detach(path: Path) -> None:
    link = open_pinned(path)
    try:
        link_detach(link)
    except OSError as error:
        # Where it cannot be done by force (before 5.9, and for links to maps), it is done when
        # the last descriptor is closed: nobody else has one.
        if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP}:
            raise
    finally:
        os.close(link)


def _lock(directory: Path) -> int:
    while True:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Whoever held it may have removed the directory.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), directory.stat()):
                return lock
        os.close(lock)
