"""What the self-test is told, what it answers, and how it is run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio

from edgemesh.kernel.bpf.loader import cgroup_directory
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.settings import ProxySettings

CHILD = (sys.executable, "-P", "-m", "edgemesh.app.selftest.child")
_CGROUP_PREFIX = "edgemesh-selftest-"


@dataclass(frozen=True, slots=True)
class SelfTestOrder:
    """What is to be tried.

    Args:
        bpf, proxy: settings of the agent.
        cgroup: where the child goes, so that programs that are attached above see its calls;
            "" for where it is.
        groups: those that are loaded.
    """

    bpf: BpfSettings
    proxy: ProxySettings
    cgroup: str
    groups: tuple[str, ...]


def read_order(encoded: bytes) -> SelfTestOrder:
    """What the child is told.

    Args:
        encoded: JSON, with paths as text.
    """
    return msgspec.json.decode(encoded, type=SelfTestOrder, dec_hook=lambda kind, text: kind(text))


@dataclass(frozen=True, slots=True)
class SelfTestResult:
    """What works: for each group that was tried "", or in one sentence why it does not."""

    groups: Mapping[str, str]


async def self_test(
    bpf: BpfSettings, proxy: ProxySettings, groups: tuple[str, ...]
) -> Mapping[str, str]:
    """Try what is loaded, in a process of its own.

    Args:
        bpf: settings of the agent.
        proxy: the same.
        groups: those that are loaded.

    Returns:
        For each of the groups "", or in one sentence why it does not work.

    Cancellation: ends the process.
    """
    with _made_cgroup(bpf) as cgroup:
        order = SelfTestOrder(bpf, proxy, cgroup, groups)
        with trio.move_on_after(bpf.self_test_seconds):
            done = await trio.run_process(
                CHILD,
                stdin=msgspec.json.encode(order, enc_hook=str),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
            if done.returncode == 0:
                return msgspec.json.decode(done.stdout, type=SelfTestResult).groups
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
            problem = f"the self-test ended with status {done.returncode}: {said[-1]}"
            return dict.fromkeys(groups, problem)
    return dict.fromkeys(groups, f"the self-test took longer than {bpf.self_test_seconds:g} s")


@contextmanager
def _made_cgroup(bpf: BpfSettings) -> Iterator[str]:
    """A cgroup for the child; "" where none can be made, as in containers that may only look."""
    above = cgroup_directory(bpf)
    _remove(above.glob(f"{_CGROUP_PREFIX}*"))
    cgroup = above / f"{_CGROUP_PREFIX}{os.getpid()}"
    try:
        cgroup.mkdir()
    except OSError:
        yield ""
        return
    try:
        yield str(cgroup)
    finally:
        _remove((cgroup,))


def _remove(cgroups: Iterable[Path]) -> None:
    """Remove those that nobody is in; another agent's child may be, or one that is ending."""
    for cgroup in cgroups:
        with suppress(OSError):
            cgroup.rmdir()
