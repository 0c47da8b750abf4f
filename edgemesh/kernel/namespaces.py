"""The network namespaces of this host: which there are, and how a process goes into one."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CLONE_NEWNET = 0x40000000


def network_namespaces() -> Iterator[Path]:
    """Every network namespace that a name or a process holds, once; named ones first."""
    seen: set[tuple[int, int]] = set()
    for path in (*Path("/run/netns").glob("*"), *Path("/proc").glob("[0-9]*/ns/net")):
        # A process may end meanwhile, and a name may outlive what it was for.
        with suppress(FileNotFoundError, ProcessLookupError):
            found = path.stat()
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                yield path


def enter_namespace(path: Path) -> bool:
    """Go into a namespace for good, with the calling thread; false when the path is none.

    Only for a process that has one thread and ends soon: threads of an agent come back from one
    piece of work to another, and would be where nobody thinks they are.

    Raises:
        OSError: it is gone, or the privilege is missing.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open() as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET) == 0:
            return True
    number = ctypes.get_errno()
    # EINVAL: a plain file lies among the names.
    if number == errno.EINVAL:
        return False
    raise OSError(number, os.strerror(number))
