"""What the paths ``connect`` and ``splice`` need of the host; ``relay`` does without all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgemesh.app.prerequisites import Check, State
from edgemesh.kernel.bpf.bpffs import USUAL_MOUNT, could_be_mounted, in_bpf_file_system
from edgemesh.kernel.bpf.build import has_bcc
from edgemesh.kernel.bpf.foreign import (
    ForeignProgram,
    cgroup_hooks,
    foreign_at_cgroup,
    foreign_on_sockmaps,
    pinned_programs,
)
from edgemesh.kernel.bpf.headers import find_headers
from edgemesh.kernel.mounts import mount_point
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.errors import OperatorError

_BTF = Path("/sys/kernel/btf/vmlinux")
_JIT = Path("/proc/sys/net/core/bpf_jit_enable")
# capability.h; the older one includes the newer (kernel 5.8).
_CAP_BPF, _CAP_SYS_ADMIN = 39, 21


def check_bpf(settings: BpfSettings) -> Iterator[Check]:
    """Look at everything that BPF needs; nothing is changed.

    Blocks for some milliseconds: reads /proc and /sys and asks the kernel for its programs.
    """
    if not settings.enabled:
        yield _met("left alone (bpf.enabled is false)")
        return
    cgroup = Path(settings.cgroup) if settings.cgroup else mount_point("cgroup2")
    yield _privilege()
    yield _compiler()
    yield _headers(settings.headers)
    yield _btf()
    yield _file_system(settings.directory)
    yield _cgroup(cgroup)
    yield from _jit()
    yield from _foreign(cgroup, settings.directory)


def _met(what: str) -> Check:
    return Check("bpf", State.MET, what)


def _lacking(what: str, remedy: str) -> Check:
    return Check("bpf", State.LACKING, what, remedy)


def _privilege() -> Check:
    status = Path("/proc/self/status").read_text().splitlines()
    [effective] = [int(line.split()[1], 16) for line in status if line.startswith("CapEff:")]
    if effective >> _CAP_BPF & 1 or effective >> _CAP_SYS_ADMIN & 1:
        return _met("may load BPF programs")
    return _lacking("may not load BPF programs", "run as root, or with CAP_BPF and CAP_NET_ADMIN")


def _compiler() -> Check:
    if has_bcc():
        return _met("bcc module")
    return _lacking("bcc module: none", "apt-get install python3-bpfcc, then scripts/setup")


def _headers(chosen: str) -> Check:
    try:
        return _met(f"kernel headers: {find_headers(chosen)}")
    except OperatorError as error:
        return _lacking(error.problem, error.remedy)


def _btf() -> Check:
    if _BTF.exists():
        return _met(f"BTF of the kernel: {_BTF}")
    return _lacking(f"BTF of the kernel: no {_BTF}", "a kernel with CONFIG_DEBUG_INFO_BTF")


def _file_system(directory: Path) -> Check:
    if in_bpf_file_system(directory):
        return _met(f"BPF file system: {directory} lies in one")
    if could_be_mounted(directory):
        return _met(f"BPF file system: will be mounted at {USUAL_MOUNT}")
    return _lacking(
        f"BPF file system: {directory} lies in none", f"mount -t bpf bpf {directory.parent}"
    )


def _cgroup(cgroup: Path | None) -> Check:
    if cgroup is None:
        return _lacking(
            "cgroup v2: not mounted",
            "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified",
        )
    if (cgroup / "cgroup.controllers").exists():
        return _met(f"cgroup v2: calls of processes in {cgroup} can be balanced")
    return _lacking(f"cgroup v2: {cgroup} is none", "set bpf.cgroup to a directory that is one")


def _jit() -> Iterator[Check]:
    # Only the host's own network namespace has it.
    if not _JIT.exists():
        return
    if int(_JIT.read_text()):
        yield _met("BPF programs are compiled to machine code")
    else:
        yield _lacking(
            "BPF programs are interpreted, which is slow", "sysctl -w net.core.bpf_jit_enable=1"
        )


def _foreign(cgroup: Path | None, directory: Path) -> Iterator[Check]:
    try:
        own = pinned_programs(directory)
        at_cgroup = foreign_at_cgroup(cgroup, cgroup_hooks(), own) if cgroup else []
        on_sockmaps = foreign_on_sockmaps(own)
    except PermissionError:
        # It has been told that the privilege is missing.
        return
    yield from map(_judged, at_cgroup)
    for program in on_sockmaps:
        yield _met(f"{program}: a socket that it takes is not spliced")


def _judged(program: ForeignProgram) -> Check:
    if not program.exclusive:
        return _met(f"{program} sees the same calls")
    return _lacking(
        f"{program} allows no others",
        f"end what attached it (bpftool cgroup show {program.cgroup}), or let bpf.cgroup be "
        "elsewhere",
    )
