"""Pipes for splice(2), kept for the next one that needs one: making two costs more than a splice.

A pipe is taken for what is under way at the moment and given back when it is empty, so flows
that are at rest hold none.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self


class Pipe(NamedTuple):
    """The file descriptors of both its ends."""

    reader: int
    writer: int


class Pipes:
    """So many pipes at most; a context manager that closes those that are not taken.

    Attributes:
        taken: how many are.
    """

    def __init__(self, limit: int, capacity: int) -> None:
        """Make none yet.

        Args:
            limit: how many there may be at a time.
            capacity: of each, in bytes. The kernel allows the agent less where
                /proc/sys/fs/pipe-max-size or pipe-user-pages-soft say so (pipe(7)).
        """
        self._limit = limit
        self._capacity = capacity
        self._free: list[Pipe] = []
        self.taken = 0

    def __enter__(self) -> Self:
        """There is nothing to be done yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close them."""
        while self._free:
            _close(self._free.pop())

    def take(self) -> Pipe | None:
        """An empty pipe, to be given back or discarded; None when there is none to be had."""
        pipe = self._free.pop() if self._free else self._make()
        if pipe is not None:
            self.taken += 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Take back a pipe that is empty again."""
        self.taken -= 1
        self._free.append(pipe)

    def discard(self, pipe: Pipe) -> None:
        """Take back one that may not be empty: it is closed, with what it holds."""
        self.taken -= 1
        _close(pipe)

    def _make(self) -> Pipe | None:
        if self.taken >= self._limit:
            return None
        try:
            pipe = Pipe(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
                return None
            raise
        # Not permitted: it keeps the capacity that it has, and a splice moves less at once.
        with suppress(PermissionError):
            fcntl.fcntl(pipe.writer, fcntl.F_SETPIPE_SZ, self._capacity)
        return pipe


def _close(pipe: Pipe) -> None:
    os.close(pipe.reader)
    os.close(pipe.writer)
