"""Runs the self-test: what needs not the same programs is tried at the same time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
import trio

from edgemesh.app.selftest.order import CHILD, SelfTestOrder, SelfTestResult
from edgemesh.kernel.bpf.loader import cgroup_directory
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.settings import ProxySettings

_CGROUP_PREFIX = "edgemesh-selftest-"
# Each in a process of its own. What stands together uses the same maps, one after the other.
_TOGETHER = (("connect", "sockops"), ("gate", "observed_gate"))


async def self_test(
    bpf: BpfSettings,
    proxy: ProxySettings,
    groups: tuple[str, ...],
    *,
    child: Sequence[str] = CHILD,
) -> Mapping[str, str]:
    """Try what is loaded, in processes of its own.

    Args:
        bpf: settings of the agent.
        proxy: the same.
        groups: those that are loaded.
        child: how such a process is started.

    Returns:
        For each of the groups "", or in one sentence why it does not work. One that could not
        be tried, for the process hung or died before, does not work.

    Cancellation: ends the processes.
    """
    found: dict[str, str] = {}
    with _made_cgroup(bpf) as cgroup:
        async with trio.open_nursery() as nursery:
            for together in _TOGETHER:
                there = tuple(group for group in together if group in groups)
                if there:
                    order = SelfTestOrder(bpf, proxy, cgroup, there)
                    nursery.start_soon(_try_in_time, child, order, found)
    return found


async def _try_in_time(child: Sequence[str], order: SelfTestOrder, found: dict[str, str]) -> None:
    """Find something for each group of an order."""
    limit = order.bpf.self_test_seconds
    problem = f"the self-test took longer than {limit:g} s"
    with trio.move_on_after(limit):
        problem = await _try(child, order, found)
    for group in order.groups:
        found.setdefault(group, problem)


async def _try(child: Sequence[str], order: SelfTestOrder, found: dict[str, str]) -> str:
    """Take down what the child finds; how it ended."""
    said = bytearray()
    async with trio.open_nursery() as nursery:
        run = partial(
            trio.run_process,
            child,
            stdin=msgspec.json.encode(order, enc_hook=str),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )
        process: trio.Process = await nursery.start(run)
        assert process.stdout is not None
        assert process.stderr is not None
        nursery.start_soon(_collect, process.stderr, said)
        async for line in _lines(process.stdout):
            result = msgspec.json.decode(line, type=SelfTestResult)
            found[result.group] = result.problem
    last_words = said.decode(errors="replace").strip().splitlines() or ["it said nothing"]
    return f"the self-test ended with status {process.returncode}: {last_words[-1]}"


async def _collect(stream: trio.abc.ReceiveStream, said: bytearray) -> None:
    while heard := await stream.receive_some():
        said += heard


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[bytes]:
    rest = b""
    while heard := await stream.receive_some():
        *lines, rest = (rest + heard).split(b"\n")
        for line in lines:
            yield line


@contextmanager
def _made_cgroup(bpf: BpfSettings) -> Iterator[str]:
    """A cgroup for the children; "" where none can be made, as in containers that only look."""
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
