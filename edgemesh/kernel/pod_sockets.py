"""Sockets inside a Pod's network namespace, for an agent's host to call as the Pod would.

A socket stays in the namespace where it was made, whoever uses it (socket(7) and
network_namespaces(7)). A child process enters the namespace, makes the sockets and hands them
over; no thread of this process ever leaves its own namespace.

Several namespaces may have the same address, where several clusters are played on one host. The
Pod's is then the one that a link of our own namespace leads into (rtnetlink's RTM_GETNSID).
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from edgemesh.model.errors import OperatorError

_CLONE_NEWNET = 0x40000000
_LONGEST_ANSWER = 4096
_PATIENCE_SECONDS = 10.0


def pod_sockets(address: str, kinds: Sequence[socket.SocketKind]) -> list[socket.socket]:
    """Sockets in the namespace of this host that has an address, one of each kind.

    They are of the address's family and bound to nothing. Blocks for the start of a Python
    interpreter: call it in a thread.

    Raises:
        OperatorError: no namespace here has the address, or the privilege is missing.

    Ownership: the caller closes them.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    numbers = [str(int(kind)) for kind in kinds]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(_PATIENCE_SECONDS)
        argv = [sys.executable, "-m", __name__, str(theirs.fileno()), address, *numbers]
        with subprocess.Popen(argv, pass_fds=[theirs.fileno()]) as child:  # noqa: S603 - ourselves
            theirs.close()
            try:
                answer, descriptors, _, _ = socket.recv_fds(ours, _LONGEST_ANSWER, len(kinds))
            except TimeoutError:
                child.kill()
                answer, descriptors = b"", []
    sockets = [
        socket.socket(family, kind, fileno=descriptor)
        for kind, descriptor in zip(kinds, descriptors, strict=False)
    ]
    if len(sockets) == len(kinds):
        return sockets
    for each in sockets:
        each.close()
    problem = json.loads(answer)["problem"] if answer else "the helper process died"
    raise OperatorError(
        f"cannot call from {address}: {problem}",
        "run this as root on the node where the Pod runs",
    )


def _serve(control: socket.socket, address: str, kinds: Sequence[int]) -> None:
    """The child: find the namespace, stay in it, hand sockets over."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        if not any(_enter_and_look(path, family, address) for path in _neighbours_first()):
            control.sendall(json.dumps({"problem": "no namespace here has it"}).encode())
            return
        sockets = [socket.socket(family, kind) for kind in kinds]
    except PermissionError as error:
        control.sendall(json.dumps({"problem": error.strerror}).encode())
        return
    socket.send_fds(control, [b"{}"], [each.fileno() for each in sockets])


def _namespaces() -> Iterator[Path]:
    """Every network namespace that a name or a process holds, once; named ones first."""
    seen: set[tuple[int, int]] = set()
    for path in (*Path("/run/netns").glob("*"), *Path("/proc").glob("[0-9]*/ns/net")):
        # A process may end meanwhile, and a name may outlive what it was for.
        with suppress(FileNotFoundError, ProcessLookupError):
            found = path.stat()
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                yield path


def _neighbours_first() -> list[Path]:
    """All namespaces, those first that a link of the namespace we are in leads into."""
    with IPRoute() as netlink:
        linked = {link.get_attr("IFLA_LINK_NETNSID") for link in netlink.get_links()}

        def is_neighbour(path: Path) -> bool:
            try:
                with path.open() as namespace:
                    told = netlink.get_netnsid(fd=namespace.fileno())
            except (OSError, NetlinkError):
                return False
            return told["nsid"] in linked

        return sorted(_namespaces(), key=is_neighbour, reverse=True)


def _enter_and_look(path: Path, family: int, address: str) -> bool:
    """Enter a namespace and tell whether it has the address: only then can it be bound."""
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open() as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET):
            number = ctypes.get_errno()
            # EINVAL: a plain file lies among the names.
            if number == errno.EINVAL:
                return False
            raise OSError(number, os.strerror(number))
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as control_socket:
        _serve(control_socket, sys.argv[2], [int(number) for number in sys.argv[3:]])
