"""The process itself, under the names that Prometheus' client libraries gave to such metrics."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from edgemesh.observe.metrics.exposition import Family, counter, gauge

_PROCESS = Path("/proc/self")


def process_families() -> Iterator[Family]:
    """What the kernel tells about this process, in a few system calls (proc(5))."""
    virtual, resident = memory_bytes()
    yield gauge("process_resident_memory_bytes", "Resident memory.", [("", resident)])
    yield gauge("process_virtual_memory_bytes", "Virtual memory.", [("", virtual)])
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield counter(
        "process_cpu_seconds_total",
        "User and system CPU time.",
        [("", round(used.ru_utime + used.ru_stime, 6))],
    )
    yield gauge("process_open_fds", "Open file descriptors.", [("", _open_descriptors())])
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield gauge("process_max_fds", "Largest number of open file descriptors.", [("", most)])
    yield gauge(
        "process_start_time_seconds", "When the process began, since 1970.", [("", _begin())]
    )


def memory_bytes() -> tuple[int, int]:
    """Virtual and resident memory in bytes."""
    virtual, resident = (_PROCESS / "statm").read_text().split()[:2]
    page = os.sysconf("SC_PAGESIZE")
    return int(virtual) * page, int(resident) * page


def _open_descriptors() -> int:
    directory = _PROCESS / "fd"
    # Linux 6.2 and later tell the number as the directory's size; counting 10,000 takes 5 ms.
    return directory.stat().st_size or sum(1 for _ in directory.iterdir())


def _begin() -> float:
    # Field 22, in ticks since the boot; the command in field 2 may hold spaces and parentheses.
    fields = (_PROCESS / "stat").read_text().rpartition(")")[2].split()
    since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return round(time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot, 2)
