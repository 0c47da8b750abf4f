"""A process that loads the sample programs and is killed after a step that it is told.

bpf_killed.py loader DIRECTORY CGROUP SOURCES STEP     killed in the loader itself
bpf_killed.py parent DIRECTORY CGROUP SOURCES STEP     killed by its compile child
bpf_killed.py agent DIRECTORY CGROUP SOURCES -         ends without releasing
bpf_killed.py child STEP                               a compile child, killed
bpf_killed.py avenger STEP                             a compile child that kills its parent
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import msgspec
from bpf_samples import counting

from edgemesh.kernel.bpf.build import CHILD, BuildSpec
from edgemesh.kernel.bpf.compile_child import build, end_with
from edgemesh.kernel.bpf.loader import Loading, adopt_or_load, load
from edgemesh.model.bpf_settings import BpfSettings


def main() -> None:
    role, *rest = sys.argv[1:]
    if role in {"child", "avenger"}:
        _build(rest[0], os.getpid() if role == "child" else os.getppid())
        return
    directory, cgroup, sources, step = rest
    settings = BpfSettings(directory=Path(directory), cgroup=cgroup)
    child = (sys.executable, __file__, "avenger", step) if role == "parent" else CHILD
    groups = (counting(Path(sources)),)
    if role == "agent":
        adopt_or_load(settings, loading=Loading(groups))
        return

    def told(done: str) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    load(settings, owner="operator", loading=Loading(groups, child, told))


def _build(step: str, victim: int) -> None:
    def told(done: str) -> None:
        if done == step:
            os.kill(victim, signal.SIGKILL)
            signal.pause()  # what ends us comes from the kernel, if at all

    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=BuildSpec)
    end_with(spec.loader)
    sys.stdout.buffer.write(msgspec.json.encode(build(spec, told)))


if __name__ == "__main__":
    main()
