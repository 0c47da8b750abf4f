"""How the C library keeps memory for this process."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8  # malloc.h of glibc


def share_one_heap() -> None:
    """Let all threads from now on have their memory from one heap; only glibc can be told.

    Else each has one of its own, a mebibyte that the others cannot use, so that they need not
    wait for each other. Threads of Python do in any case.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
