"""What a measurement costs: processor time of the whole machine and of the subject, memory.

The machine's time counts what no process is charged for: interrupts and the kernel's own
threads. Without it a path that works in the kernel would look free.
Source: proc(5), /proc/stat, /proc/PID/stat, /proc/PID/statm.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time between start and stop, in seconds, and memory at the stop, in bytes.

    ``subject_seconds`` and ``rss_bytes`` are None for a subject that has no process.
    """

    machine_seconds: float
    subject_seconds: float | None
    rss_bytes: int | None


class Meter:
    """Reads the counters when the load says that its measurement begins and ends.

    Args:
        pids: of the subject's processes; their descendants count as well. It may have none.
    """

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._before = (0.0, 0.0)
        self.usage: Usage | None = None

    def start(self) -> None:
        """The measurement begins."""
        self._before = self._read()

    def stop(self) -> None:
        """The measurement is over; ``usage`` is set from here on."""
        machine, subject = self._read()
        self.usage = Usage(
            machine_seconds=machine - self._before[0],
            subject_seconds=subject - self._before[1] if self._pids else None,
            rss_bytes=sum(map(rss_bytes, self._pids)) if self._pids else None,
        )

    def _read(self) -> tuple[float, float]:
        machine = busy_seconds((_PROC / "stat").read_text())
        return machine, sum(map(process_seconds, self._pids))


def busy_seconds(stat: str) -> float:
    """Time that all processors worked since boot: user, nice, system, irq and softirq.

    Args:
        stat: the text of /proc/stat. Its guest time is part of user time; idle, iowait and what
            the hypervisor took (steal) are nobody's work.
    """
    user, nice, system, _idle, _iowait, irq, softirq = map(int, stat.split(None, 8)[1:8])
    return (user + nice + system + irq + softirq) * _TICK_SECONDS


def process_seconds(pid: int) -> float:
    """User and system time of a process, its descendants, and those that it has waited for."""
    return sum(own_seconds((_PROC / str(one) / "stat").read_text()) for one in family(pid))


def own_seconds(stat: str) -> float:
    """The four times in the text of a /proc/PID/stat: utime, stime, cutime and cstime."""
    # The command's name may hold spaces and brackets; fields are counted from its last bracket.
    fields = stat.rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) * _TICK_SECONDS


def rss_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants; shared pages count in each."""
    return sum(
        int((_PROC / str(one) / "statm").read_text().split()[1]) * _PAGE_BYTES
        for one in family(pid)
    )


def family(pid: int) -> list[int]:
    """A process and all of its living descendants."""
    children: list[int] = []
    for task in (_PROC / str(pid) / "task").iterdir():
        # A thread that ends meanwhile has no children any more: proc(5) gives them to another.
        with suppress(FileNotFoundError, ProcessLookupError):
            children += map(int, (task / "children").read_text().split())
    return [pid, *(member for child in children for member in family(child))]
