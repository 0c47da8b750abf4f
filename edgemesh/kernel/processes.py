"""Which process is meant, when its number may be used again."""

from __future__ import annotations

from pathlib import Path

_PROC = Path("/proc")


def start_time(pid: int) -> int | None:
    """When a process was started, in clock ticks since the machine's start (proc(5)).

    None where there is none of that number, and for one that ended and was not waited for.
    """
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name before it is in parentheses and may contain anything.
    state, *fields = text.rpartition(")")[2].split()
    return None if state in {"Z", "X"} else int(fields[18])
