"""The unix socket itself: made, replaced when stale, and who is at its other end."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import trio

from edgemesh.model.errors import OperatorError

_BACKLOG = 64
# struct ucred of unix(7): pid, uid, gid.
_CREDENTIALS = struct.Struct("3i")
_NOBODY_LISTENS = {errno.ECONNREFUSED, errno.ENOENT}


@asynccontextmanager
async def unix_listener(path: Path) -> AsyncIterator[trio.SocketListener]:
    """Listen on a unix socket of mode 0660; remove it at the end.

    Raises:
        OperatorError: another process answers there, or the socket cannot be made.
    """
    try:
        _make_way(path)
        made = _bind(path)
    except OSError as error:
        raise OperatorError(f"socket {path}: {error.strerror or error}") from error
    inode = _inode(path)
    async with trio.SocketListener(trio.socket.from_stdlib_socket(made)) as listener:
        try:
            yield listener
        finally:
            # Only our own: an administrator may have moved another one to its place.
            if _inode(path) == inode:
                path.unlink()  # noqa: ASYNC240 - a directory entry in memory (/run)


def peer_uid(connection: trio.socket.SocketType) -> int:
    """The user at the other end of a unix socket, as the kernel recorded it (SO_PEERCRED)."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(credentials)
    return int(uid)


# What follows touches directory entries and a socket at hand only: nothing that blocks.


def _make_way(path: Path) -> None:
    """Make the directory, and remove a socket that nobody answers on.

    Raises:
        OperatorError: somebody does.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A listener whose queue is full is alive too, and says so at once.
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno not in _NOBODY_LISTENS:
                raise
            path.unlink(missing_ok=True)
            return
    raise OperatorError(
        f"socket {path}: another edgemesh agent answers on it",
        "stop that one, or give this one a run_dir of its own",
    )


def _bind(path: Path) -> socket.socket:
    with ExitStack() as until_listening:
        made = until_listening.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        made.bind(str(path))
        # Nobody can connect before listen(), so nobody gets in before the mode is right.
        path.chmod(0o660)
        made.listen(_BACKLOG)
        made.setblocking(False)
        until_listening.pop_all()
    return made


def _inode(path: Path) -> int:
    """Of a directory entry, 0 when there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0
