"""Processes of the harness: started in a namespace, watched, and ended with those who need them."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from edgemesh.lab import cgroups, network
from edgemesh.model.errors import OperatorError

_GRACE_SECONDS = 5
_KILL_SECONDS = 5


@asynccontextmanager
async def started(
    namespace: str, argv: Sequence[str], log: Path, *, stdout: int | None = None
) -> AsyncIterator[trio.Process]:
    """Run a program in a network namespace and end it when the block is left.

    Args:
        namespace: where, and in the cgroup of that name if there is one; the program replaces
            the commands that enter them, so the process id is the program's own.
        argv: the program and its arguments.
        log: where its standard error goes, and its standard output too unless that is a pipe.
        stdout: ``subprocess.PIPE`` to read what it prints.

    Ownership: it leads a session of its own, so that Ctrl-C reaches the harness alone.
    """
    with log.open("ab") as output:
        process = await trio.lowlevel.open_process(
            _command_in(namespace, argv),
            stdin=subprocess.DEVNULL,
            stdout=output if stdout is None else stdout,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with trio.move_on_after(_GRACE_SECONDS + _KILL_SECONDS, shield=True):
            await _end(process)
            if process.stdout is not None:
                await process.stdout.aclose()


async def _end(process: trio.Process) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    with trio.move_on_after(_GRACE_SECONDS):
        await process.wait()
        return
    process.kill()
    await process.wait()


def check_alive(process: trio.Process, name: str, log: Path) -> None:
    """Raise when a process ended although it is needed, with the last line that it wrote.

    Raises:
        OperatorError: it is gone.
    """
    if process.poll() is not None:
        lines = log.read_text(errors="replace").split("\n") if log.exists() else []
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        raise OperatorError(f"{name} ended with status {process.returncode}: {last}")


async def finished(namespace: str, argv: Sequence[str], given: str = "") -> str:
    """Run a command in a namespace and its cgroup, wait for it, and return what it printed.

    Raises:
        OperatorError: it failed; with what it wrote to standard error.
    """
    done = await trio.run_process(
        _command_in(namespace, argv),
        stdin=given.encode(),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        start_new_session=True,
    )
    if done.returncode != 0:
        told = " ".join(done.stderr.decode(errors="replace").split())
        raise OperatorError(f"{' '.join(argv)}: {told}")
    return done.stdout.decode(errors="replace")


def _command_in(namespace: str, argv: Sequence[str]) -> list[str]:
    command = network.command_in(namespace, argv)
    cgroup = cgroups.find(namespace)
    return cgroups.command_in(cgroup, command) if cgroup else command
