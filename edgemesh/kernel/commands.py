"""The system's own tools, run as they are: no shell, text in, text out."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from edgemesh.model.errors import OperatorError

# Administrators' directories, for a PATH without them still has to find iptables.
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"


def find_tool(name: str) -> str | None:
    """The full path of a program, None when it is not installed."""
    return shutil.which(name) or shutil.which(name, path=_PATH)


def run_tool(
    argv: Sequence[str], given: str = "", package: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; its status is the caller's to judge.

    Args:
        argv: name and arguments.
        given: its standard input.
        package: the Debian package that has it, where its name differs.

    Raises:
        OperatorError: it is not installed.
    """
    path = find_tool(argv[0])
    if path is None:
        raise OperatorError(f"{argv[0]} is not installed", f"apt-get install {package or argv[0]}")
    return subprocess.run(  # noqa: S603 - every caller passes fixed words and checked values
        [path, *argv[1:]], input=given, capture_output=True, text=True, check=False
    )


def must_run(argv: Sequence[str], given: str = "", package: str = "") -> str:
    """As `run_tool`, for what has to succeed; returns standard output.

    Raises:
        OperatorError: it is not installed, or it failed, with its own words.
    """
    done = run_tool(argv, given, package)
    if done.returncode:
        told = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise OperatorError(f"{' '.join(argv)}: {told}")
    return done.stdout
