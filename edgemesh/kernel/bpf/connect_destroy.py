"""End the connections of endpoints that are gone, in whichever network namespace they are.

The kernel keeps beside each socket that was balanced when it connected which endpoint it was given
(``struct note`` of ``bpf/edgemesh.h``), and tells it together with the socket. So what somebody
connected to the same address without asking for the Service is left alone. A child process goes
through the namespaces: no thread of this process ever leaves its own.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from edgemesh.kernel.namespaces import enter_namespace, network_namespaces
from edgemesh.kernel.sock_diag import SockDiag

# struct note: its members port_id, 0 while the socket is connected elsewhere, and endpoint.
_NOTE: Final = struct.Struct("=8xI4xI")
_NUMBER: Final = struct.Struct("=I")
_PATIENCE_SECONDS: Final = 10.0
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


def destroy_connections(sockets_fd: int, endpoint_ids: Collection[int]) -> int:
    """End all TCP connections of these endpoints with RST on both sides; how many there were.

    Blocks for the start of a Python interpreter: call it in a thread.

    Args:
        sockets_fd: a descriptor of the map ``sockets``.
        endpoint_ids: as `ConnectEndpoint.id`.

    Raises:
        OSError: it could not be done; some may have been ended.
    """
    argv = [sys.executable, "-P", "-m", __name__, str(sockets_fd)]
    wanted = b"".join(map(_NUMBER.pack, endpoint_ids))
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            argv,
            input=wanted,
            capture_output=True,
            pass_fds=[sockets_fd],
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"it took more than {_PATIENCE_SECONDS:g} s") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise OSError(lines[-1] if lines else "the helper process died")
    return int(done.stdout)


def _destroy_everywhere(sockets_fd: int, endpoint_ids: frozenset[int]) -> int:
    """The child: go through the namespaces and stay in the last."""
    ended = 0
    for path in list(network_namespaces()):
        # It may be gone meanwhile, and its sockets with it.
        with suppress(FileNotFoundError, ProcessLookupError):
            if enter_namespace(path):
                ended += _destroy_here(sockets_fd, endpoint_ids)
    return ended


def _destroy_here(sockets_fd: int, endpoint_ids: frozenset[int]) -> int:
    with SockDiag() as diag:
        found = [
            one
            for family in _FAMILIES
            for one in diag.with_storage(family, sockets_fd)
            if _is_of(one.storage, endpoint_ids)
        ]
        return sum(map(diag.destroy, found))


def _is_of(note: bytes, endpoint_ids: frozenset[int]) -> bool:
    port_id, endpoint_id = _NOTE.unpack_from(note)
    return port_id != 0 and endpoint_id in endpoint_ids


if __name__ == "__main__":
    numbers = frozenset(number for (number,) in _NUMBER.iter_unpack(sys.stdin.buffer.read()))
    sys.stdout.write(str(_destroy_everywhere(int(sys.argv[1]), numbers)))
