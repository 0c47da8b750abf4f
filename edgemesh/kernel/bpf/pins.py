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

import errno
import fcntl
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from edgemesh.kernel.bpf.maps import Map
from edgemesh.kernel.bpf.syscall import link_detach, open_pinned
from edgemesh.model.errors import OperatorError

MAPS, PROGRAMS, LINKS, INFO = "maps", "programs", "links", "info"
CURRENT, STAGING = "current", "staging"
_LEAVING = "leaving"
_LOOK_AGAIN_SECONDS = 0.02
_LOOKS = 1500  # half a minute: a load takes seconds


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is pinned.

    Args:
        directory: with ``maps``, ``programs`` and ``links`` in it.
        groups: "" for those that are there, else why not.
    """

    directory: Path
    groups: Mapping[str, str]

    def map(self, name: str) -> Map:
        """Open a map by its name in C; it is the caller's.

        Raises:
            OSError: ENOENT where its group is not there.
        """
        return Map.open(self.directory / MAPS / name)


@contextmanager
def locked(directory: Path) -> Iterator[int]:
    """Hold the lock; the directory is made where it is missing and goes when it is left empty.

    Blocks while another process holds it, for half a minute at most.

    Returns:
        The lock's descriptor. It is held until the last process that has it closes it.

    Raises:
        OperatorError: the directory cannot be made or opened, or another process does not let
            go of it.
    """
    try:
        lock = _lock(directory)
    except OSError as error:
        raise OperatorError(
            f"bpf.directory {directory}: {error.strerror}", "run as root"
        ) from error
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
    for _ in range(_LOOKS):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        if _take(lock, directory):
            return lock
        os.close(lock)
        # Whoever holds it is another process: there is no event to wait for.
        threading.Event().wait(_LOOK_AGAIN_SECONDS)
    raise OperatorError(
        f"bpf.directory {directory}: another load or unload does not come to its end",
        f"its process is shown by: fuser {directory}",
    )


def _take(lock: int, directory: Path) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it before may have removed the directory.
        return os.path.samestat(os.fstat(lock), directory.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
