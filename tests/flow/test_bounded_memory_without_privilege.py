"""What a process without capabilities, such as a cloud under systemd, can bound of its sockets."""

from __future__ import annotations

import subprocess
import sys

import pytest

_BOUND = """
import socket
from edgemesh.kernel.sockets import bound_kernel_memory
with socket.socket() as sock:
    before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    bound_kernel_memory(sock, 4 * 1024 * 1024)
    print(before, sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
"""


@pytest.mark.root
def test_memory_of_a_socket_is_bounded_without_capabilities_too() -> None:
    without = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    done = subprocess.run(
        [*without, sys.executable, "-c", _BOUND], capture_output=True, text=True, check=True
    )
    before, after = map(int, done.stdout.split())
    assert before < after <= 4 * 1024 * 1024
