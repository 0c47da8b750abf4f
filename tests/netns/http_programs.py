"""Programs that speak HTTP: nginx as a server, wrk as many clients."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from interception_lab import output
from lab_homes import wait_for

from edgemesh.kernel.sockets import Address
from edgemesh.lab.network import command_in

_LONGEST_SECONDS = 100
_WARM_UP_SECONDS = 0.5
# A slow answer is none that failed, but wrk counts it as an error.
_SLOWEST_SECONDS = 30

CONFIG = """
daemon off;
user root;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    server {{ {listens} root {directory}; }}
}}
"""


class Nginx:
    """A server of the files of a directory."""

    def __init__(self, namespace: str, directory: Path) -> None:
        self._namespace = namespace
        self._directory = directory

    @property
    def argv(self) -> list[str]:
        return ["nginx", "-c", str(self._directory / "nginx.conf"), "-p", str(self._directory)]

    def reload(self) -> None:
        """Start new workers; the old ones close their connections when they are idle."""
        output(self._namespace, [*self.argv, "-s", "reload"])


@contextmanager
def nginx(namespace: str, directory: Path, addresses: Sequence[Address]) -> Iterator[Nginx]:
    """Serve the files of a directory at IPv4 addresses; returns when it takes calls and signals."""
    listens = " ".join(f"listen {address}:{port};" for address, port in addresses)
    (directory / "nginx.conf").write_text(CONFIG.format(directory=directory, listens=listens))
    made = Nginx(namespace, directory)
    with subprocess.Popen(command_in(namespace, made.argv), stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: _is_told(directory / "nginx.pid"), "nginx listens")
            yield made
        finally:
            process.terminate()


def _is_told(pid: Path) -> bool:
    """Whether nginx has written its number, which it does after all else that it begins with."""
    return pid.exists() and pid.read_text().endswith("\n")


class Load:
    """Many clients that ask without pause."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def goes_on(self, seconds: float) -> None:
        """Return after so long; it must not have ended by itself."""
        with pytest.raises(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def end(self) -> str:
        """What wrk tells about it."""
        while True:
            # wrk ignores it until all of its threads have begun.
            self._process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                told, _ = self._process.communicate(timeout=1)
                return told


@contextmanager
def no_request_fails(namespace: str, url: str) -> Iterator[Load]:
    """Ask again and again on 32 connections while the block runs; each answer must be well."""
    lasting = [f"-d{_LONGEST_SECONDS}", f"--timeout={_SLOWEST_SECONDS}"]
    argv = ["wrk", "-t1", "-c32", *lasting, url]
    with subprocess.Popen(
        command_in(namespace, argv), stdout=subprocess.PIPE, text=True
    ) as process:
        load = Load(process)
        try:
            wait_for(lambda: _was_answered(namespace), "the first request is answered")
            load.goes_on(_WARM_UP_SECONDS)
            yield load
            told = load.end()
        finally:
            process.kill()
    number = re.search(r"(\d+) requests in ", told)
    assert number
    assert int(number[1]) > 0
    assert "Socket errors" not in told, told
    assert "Non-2xx" not in told, told


def _was_answered(namespace: str) -> bool:
    """Whether a connection of the namespace has received something (ss(8), ``--info``)."""
    return "bytes_received:" in output(namespace, ["ss", "-Htin", "state", "established"])
