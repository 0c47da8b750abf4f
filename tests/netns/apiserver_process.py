"""A server that runs as a process of its own, in whatever network namespace."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio
from apiserver.resources import Body, Key
from lab_homes import wait_for

from edgemesh.lab import processes
from edgemesh.lab.configuration import environment

_TESTS = Path(__file__).parents[1]
_START_SECONDS = 60.0
_GRACE_SECONDS = 5.0


class RemoteServer:
    """Tells the process what happens in its cluster.

    Attributes:
        url: of the server, as its clients reach it.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._control = folder / "control"
        self._log = folder / "log"

    def put(self, path: str, body: Body) -> Body:
        """See `Cluster.put`; returns when it is done, as all here."""
        stored: Body = self.tell("put", path, body)
        return stored

    def delete(self, path: str, namespace: str, name: str) -> None:
        self.tell("delete", path, namespace, name)

    def objects(self, path: str) -> dict[Key, Body]:
        found = self.tell("objects", path)
        return {
            (body["metadata"].get("namespace", ""), body["metadata"]["name"]): body
            for body in found
        }

    def install_crd(self, definition: str | Body) -> None:
        self.tell("install_crd", definition)

    def violations(self) -> list[str]:
        found: list[str] = self.tell("violations")
        return found

    def requests(self) -> list[Body]:
        """Method, target and time of all that was asked."""
        found: list[Body] = self.tell("requests")
        return found

    def watches(self) -> list[str]:
        """The targets of the watches that are open."""
        found: list[str] = self.tell("watches")
        return found

    def tell(self, action: str, *arguments: Any) -> Any:
        """One of the actions of `serve`."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(_START_SECONDS)
            sock.connect(str(self._control))
            sock.sendall(msgspec.json.encode({"do": action, "with": arguments}) + b"\n")
            with sock.makefile("rb") as answers:
                line = answers.readline()
        assert line, f"the server ended: {self._log.read_text()}"
        answer = msgspec.json.decode(line)
        assert "result" in answer, f"{action} {arguments}: {answer}"
        return answer["result"]


@contextmanager
def apiserver_process(
    host: str,
    port: int,
    *arguments: str,
    within: Callable[[Sequence[str]], list[str]] = list,
) -> Iterator[RemoteServer]:
    """A server process, ended with the block.

    Args:
        host: address to listen on, which is that of the URL too.
        port: likewise; it is free in that namespace.
        arguments: further ones of ``serve.py``.
        within: what makes the command run in another network namespace.
    """
    with tempfile.TemporaryDirectory(prefix="apiserver-") as folder:
        control, log = Path(folder) / "control", Path(folder) / "log"
        argv = [sys.executable, str(_TESTS / "apiserver" / "serve.py")]
        argv += ["--host", host, "--port", str(port), "--control", str(control), *arguments]
        env = {**environment(), "PYTHONPATH": str(_TESTS)}
        process = processes.start(within(argv), log, env)
        try:
            wait_for(lambda: _listens(control), f"it starts: {log.read_text()}", _START_SECONDS)
            server = RemoteServer(f"http://{host}:{port}", Path(folder))
            server.watches()  # It answers once it serves.
            yield server
        finally:
            trio.run(processes.end, [process], _GRACE_SECONDS)


def _listens(control: Path) -> bool:
    """Whether somebody listens at a socket, which is there a moment before that."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(control)) == 0
