"""End the connections of endpoints that are gone, in whichever network namespace they are.

The programs note which endpoint each socket was given, by the socket's cookie (``sockets`` of
``bpf/watch_maps.h``). So what somebody connected to the same address without asking for the
Service is left alone. A child process goes through the namespaces: no thread of this process ever
leaves its own.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from edgemesh.kernel.bpf.maps import Map
from edgemesh.kernel.namespaces import enter_namespace, network_namespaces
from edgemesh.kernel.sock_diag import SockDiag

# struct note: its member endpoint.
_NOTE: Final = struct.Struct("=16xI")
_COOKIE: Final = struct.Struct("=Q")
_PATIENCE_SECONDS: Final = 10.0
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


def destroy_connections(sockets: Map, endpoint_ids: Collection[int]) -> int:
    """End all TCP connections of these endpoints with RST on both sides; how many there were.

    Blocks for the start of a Python interpreter: call it in a thread.

    Args:
        sockets: the map of that name.
        endpoint_ids: as `ConnectEndpoint.id`.

    Raises:
        OSError: it could not be done; some may have been ended.
    """
    wanted = b"".join(
        cookie for cookie, note in sockets.items() if _NOTE.unpack_from(note)[0] in endpoint_ids
    )
    if not wanted:
        return 0
    argv = [sys.executable, "-P", "-m", __name__]
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            argv,
            input=wanted,
            capture_output=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"it took more than {_PATIENCE_SECONDS:g} s") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise OSError(lines[-1] if lines else "the helper process died")
    return int(done.stdout)


def _destroy_everywhere(cookies: frozenset[int]) -> int:
    """The child: go through the namespaces and stay in the last."""
    ended = 0
    for path in list(network_namespaces()):
        # It may be gone meanwhile, and its sockets with it.
        with suppress(FileNotFoundError, ProcessLookupError):
            if enter_namespace(path):
                ended += _destroy_here(cookies)
    return ended


def _destroy_here(cookies: frozenset[int]) -> int:
    with SockDiag() as diag:
        found = [one for family in _FAMILIES for one in diag.tcp(family) if one.cookie in cookies]
        return sum(map(diag.destroy, found))


if __name__ == "__main__":
    given = frozenset(cookie for (cookie,) in _COOKIE.iter_unpack(sys.stdin.buffer.read()))
    sys.stdout.write(str(_destroy_everywhere(given)))
