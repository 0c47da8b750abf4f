"""The process that compiles, loads, attaches and pins, and ends: bcc never gets into the agent.

It reads a BuildSpec from standard input and writes a BuildResult to standard output; what
compiler and verifier say goes to standard error. Programs that are attached hang on their
links, and links on this process until all of them are pinned: wherever it is killed, there is
either nothing left or something in the directory that it was given.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from edgemesh.kernel.bpf.build import BuildResult, BuildSpec
from edgemesh.kernel.bpf.compiled import BuiltGroup, RefusedError, build_group
from edgemesh.kernel.bpf.pins import LINKS, MAPS, PROGRAMS
from edgemesh.kernel.bpf.programs import Group
from edgemesh.kernel.bpf.syscall import pin
from edgemesh.wire.btf import Btf, BtfError

_BTF = Path("/sys/kernel/btf/vmlinux")
_PR_SET_PDEATHSIG = 1
_REASON_CHARACTERS = 300  # it is kept in a map


def main() -> None:
    """Do what standard input says."""
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=BuildSpec)
    end_with(spec.loader)
    result = build(spec, _tell)
    sys.stdout.buffer.write(msgspec.json.encode(result))


def _tell(step: str) -> None:
    sys.stderr.write(f"{step}\n")


def end_with(loader: int) -> None:
    """Have this process killed when the one that started it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have ended already.
    if os.getppid() != loader:
        sys.exit("the loader is gone")


def build(spec: BuildSpec, progress: Callable[[str], None]) -> BuildResult:
    """Build what can be built, and pin it.

    Args:
        spec: what to build.
        progress: is told each step that is done.

    Raises:
        OSError: what was built cannot be pinned.
    """
    reasons: dict[str, str] = {}
    built: dict[str, BuiltGroup] = {}
    btf = _LazyBtf()
    cgroup = os.open(spec.cgroup, os.O_RDONLY | os.O_DIRECTORY)
    for group in spec.groups:
        missing = next((name for name in group.needs if reasons[name]), None)
        if missing is not None:
            reasons[group.name] = f"needs {missing}: {reasons[missing]}"
            continue
        maps = {name: fd for each in built.values() for name, fd in each.maps.items()}
        try:
            macros = {**spec.macros, **btf.offsets(group)}
            source = Path(spec.sources[group.name])
            built[group.name] = build_group(
                group, source, macros, maps, cgroup=cgroup, progress=progress
            )
        except (RefusedError, BtfError) as error:
            reasons[group.name] = str(error)[:_REASON_CHARACTERS]
        else:
            reasons[group.name] = ""
    _pin_all(built, Path(spec.pins), progress)
    return BuildResult(reasons)


def _pin_all(built: Mapping[str, BuiltGroup], pins: Path, progress: Callable[[str], None]) -> None:
    folders = {
        MAPS: _together(each.maps for each in built.values()),
        PROGRAMS: _together(each.programs for each in built.values()),
        # Last, and without anything in between: what is attached is to be complete.
        LINKS: _together(each.links for each in built.values()),
    }
    for folder in folders:
        (pins / folder).mkdir()
    for folder, descriptors in folders.items():
        for name, fd in descriptors.items():
            pin(fd, pins / folder / name)
            progress(f"pinned {folder}/{name}")


def _together(parts: Iterator[Mapping[str, int]]) -> dict[str, int]:
    return {name: fd for part in parts for name, fd in part.items()}


class _LazyBtf:
    """The kernel's BTF, read when the first group asks for it."""

    def __init__(self) -> None:
        self._btf: Btf | None = None

    def offsets(self, group: Group) -> dict[str, int]:
        """The values of a group's macros for members of kernel structs.

        Raises:
            BtfError: the kernel has no BTF, or not these members.
        """
        if not group.offsets:
            return {}
        if self._btf is None:
            if not _BTF.exists():
                raise BtfError("the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)")
            self._btf = Btf(_BTF.read_bytes())
        return {macro: self._btf.offset(path) for macro, path in group.offsets.items()}


if __name__ == "__main__":
    main()
