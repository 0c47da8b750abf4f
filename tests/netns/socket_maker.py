"""A process that makes sockets where the test is not: in a cgroup, in a network namespace.

A socket belongs for all its life to the cgroup and to the namespace of the process that made it,
whoever uses it. So the process makes it and hands it over.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

from edgemesh.lab.cgroups import command_in as command_in_cgroup
from edgemesh.lab.network import command_in as command_in_namespace

_ORDER = struct.Struct("=II")


class SocketMaker:
    """Ownership: the process ends with `close`; sockets are the caller's."""

    def __init__(self, cgroup: Path | None, namespace: str) -> None:
        """Start the process.

        Args:
            cgroup: None to stay in the test's own.
            namespace: name of a network namespace.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = [sys.executable, __file__, str(theirs.fileno())]
        argv = command_in_namespace(namespace, argv)
        if cgroup is not None:
            argv = command_in_cgroup(cgroup, argv)
        with theirs:
            self._process = subprocess.Popen(argv, pass_fds=[theirs.fileno()])
        self._orders = ours
        self._one_order = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and wait until it has."""
        self._orders.close()
        self._process.wait(30)

    def make(self, family: int, kind: int) -> socket.socket:
        """A new socket that was made there."""
        with self._one_order:
            self._orders.send(_ORDER.pack(family, kind))
            _, (fd,), _, _ = socket.recv_fds(self._orders, 1, 1)
            # Until it has closed its own descriptor, ours is not the last one.
            self._orders.recv(1)
        return socket.socket(fileno=fd)


def _serve(orders: socket.socket) -> None:
    while order := orders.recv(_ORDER.size):
        with socket.socket(*_ORDER.unpack(order)) as made:
            socket.send_fds(orders, [b"!"], [made.fileno()])
        orders.send(b"!")


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as given:
        _serve(given)
    os._exit(0)
