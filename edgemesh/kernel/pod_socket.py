"""A socket inside a Pod's network namespace, for its host to call as the Pod would.

A socket stays in the namespace where it was made, whoever uses it (socket(7) and
network_namespaces(7)). A child process enters the namespace, makes the socket and hands it
over; no thread of this process ever leaves its own namespace.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from edgemesh.kernel.namespaces import enter_namespace
from edgemesh.kernel.pod_namespaces import neighbours_first
from edgemesh.model.errors import OperatorError

_LONGEST_ANSWER = 4096
_PATIENCE_SECONDS = 10.0


def pod_socket(
    address: str, family: socket.AddressFamily, kind: socket.SocketKind
) -> socket.socket:
    """A socket in the namespace of this host that has an address; it is bound to nothing.

    Blocks for the start of a Python interpreter: call it in a thread.

    Args:
        address: of the Pod, IPv4 or IPv6 text.
        family: of the socket; the Pod may have addresses of both.
        kind: of the socket.

    Raises:
        OperatorError: no namespace here has the address, or the privilege is missing.

    Ownership: the caller closes it.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(_PATIENCE_SECONDS)
        numbers = [str(int(number)) for number in (theirs.fileno(), family, kind)]
        argv = [sys.executable, "-P", "-m", __name__, address, *numbers]
        with subprocess.Popen(argv, pass_fds=[theirs.fileno()]) as child:  # noqa: S603 - ourselves
            theirs.close()
            try:
                problem, descriptors, _, _ = socket.recv_fds(ours, _LONGEST_ANSWER, 1)
            except TimeoutError:
                child.kill()
                problem, descriptors = b"", []
    if descriptors:
        return socket.socket(family, kind, fileno=descriptors[0])
    raise OperatorError(
        f"cannot call from {address}: {problem.decode() or 'the helper process died'}",
        "run this as root on the node where the Pod runs",
    )


def _serve(control: socket.socket, address: str, family: int, kind: int) -> None:
    """The child: find the namespace, stay in it, hand a socket over."""
    try:
        if not any(_enter_and_look(path, address) for path in neighbours_first()):
            control.sendall(b"no namespace here has it")
            return
        made = socket.socket(family, kind)
    except PermissionError as error:
        control.sendall(str(error.strerror).encode())
        return
    socket.send_fds(control, [b"made"], [made.fileno()])


def _enter_and_look(path: Path, address: str) -> bool:
    """Enter a namespace and tell whether it has the address: only then can it be bound."""
    try:
        if not enter_namespace(path):
            return False
    except (FileNotFoundError, ProcessLookupError):
        # It has gone since they were listed.
        return False
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    wanted_address, *wanted = sys.argv[1:]
    control_number, wanted_family, wanted_kind = map(int, wanted)
    with socket.socket(fileno=control_number) as control_socket:
        _serve(control_socket, wanted_address, wanted_family, wanted_kind)
