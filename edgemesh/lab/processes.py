"""Processes that outlive the command that started them: started, recognised again, ended.

A process is never meant by its name. It is meant by its number together with the time it was
started, or by the network namespace it is in; and it is signalled through a pidfd that was
opened before that was checked, so that a number used again is never hit (pidfd_open(2)).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from edgemesh.kernel.processes import start_time
from edgemesh.lab.apps.serving import READY_VARIABLE
from edgemesh.lab.network import RUN_NETNS
from edgemesh.model.errors import OperatorError

_READY_DESCRIPTOR = 3
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One process.

    Args:
        pid: its number.
        started: when, in clock ticks since the machine's start (proc(5), starttime).
    """

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether it runs still; one that ended and was not waited for does not."""
        return start_time(self.pid) == self.started


def start(
    argv: list[str], log: Path, environment: Mapping[str, str], ready: int | None = None
) -> Process:
    """Start a program in a session of its own, so that no Ctrl-C reaches it.

    Args:
        argv: looked up in PATH.
        log: its output is added to this file.
        environment: the whole of it.
        ready: a pipe's writing end that the program is told of; it stays the caller's.

    Raises:
        OperatorError: there is no such program.
    """
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    told = dict(environment)
    if ready is not None:
        actions.append((os.POSIX_SPAWN_DUP2, ready, _READY_DESCRIPTOR))
        told[READY_VARIABLE] = str(_READY_DESCRIPTOR)
    try:
        pid = os.posix_spawnp(argv[0], argv, told, file_actions=actions, setsid=True)
    except FileNotFoundError:
        raise OperatorError(f"{argv[0]} is not installed", f"install {argv[0]}") from None
    return Process(pid, start_time(pid) or 0)


async def end(processes: Iterable[Process], grace_seconds: float) -> None:
    """End processes: SIGTERM, then SIGKILL for those that are there still after the grace.

    Returns when all are gone.
    """
    await _end([(process.pid, _is(process)) for process in processes], grace_seconds)


async def end_all_in(namespaces: Iterable[str], grace_seconds: float) -> None:
    """End every process in these network namespaces, also those that nobody recorded."""
    identities = {
        identity for name in namespaces if (identity := _identity(RUN_NETNS / name)) is not None
    }
    while members := list(_members(identities)):
        await _end(members, grace_seconds)


def last_line(log: Path) -> str:
    """The last line with a word in it that a program wrote, for a message to people."""
    text = log.read_text(errors="replace") if log.exists() else ""
    lines = [line for line in text.splitlines() if any(map(str.isalpha, line))]
    return lines[-1].strip(" |") if lines else "it wrote nothing"


def _is(process: Process) -> Callable[[], bool]:
    return lambda: process.alive


async def _end(targets: Sequence[tuple[int, Callable[[], bool]]], grace_seconds: float) -> None:
    with ExitStack() as stack:
        waiting: list[int] = []
        for pid, is_meant in targets:
            with suppress(ProcessLookupError):
                descriptor = os.pidfd_open(pid)
                stack.callback(os.close, descriptor)
                if is_meant():
                    waiting.append(descriptor)
        _signal(waiting, signal.SIGTERM)
        with trio.move_on_after(grace_seconds):
            await _wait(waiting)
            return
        _signal(waiting, signal.SIGKILL)
        await _wait(waiting)


def _signal(descriptors: Iterable[int], number: signal.Signals) -> None:
    for descriptor in descriptors:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)


async def _wait(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        await trio.lowlevel.wait_readable(descriptor)


def _members(identities: set[tuple[int, int]]) -> Iterator[tuple[int, Callable[[], bool]]]:
    for path in _PROC.iterdir():
        if path.name.isdecimal() and _identity(path / "ns/net") in identities:
            yield int(path.name), _is_member(path, identities)


def _is_member(path: Path, identities: set[tuple[int, int]]) -> Callable[[], bool]:
    return lambda: _identity(path / "ns/net") in identities


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells namespaces apart (namespaces(7)); None when there is no such namespace."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
