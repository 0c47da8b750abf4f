"""The network namespaces of this node's Pods, and what programs of the kernel call them.

Several namespaces may have the same address, where several clusters are played on one host. The
Pod's is then the one that a link of our own namespace leads into (rtnetlink's RTM_GETNSID).
A child process goes through the namespaces: no thread of this process ever leaves its own.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from edgemesh.kernel.addresses import node_addresses
from edgemesh.kernel.iproute import IPRoute, NetlinkError
from edgemesh.kernel.namespaces import enter_namespace, network_namespaces

# include/uapi/asm-generic/socket.h, Linux 5.14.
_SO_NETNS_COOKIE: Final = 71
_COOKIE_BYTES: Final = 8
_PATIENCE_SECONDS: Final = 10.0


def neighbours_first() -> list[Path]:
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

        return sorted(network_namespaces(), key=is_neighbour, reverse=True)


def namespace_cookies(addresses: Collection[str]) -> dict[str, int]:
    """The cookies of the namespaces that have these addresses, by address.

    Blocks for the start of a Python interpreter: call it in a thread.

    Args:
        addresses: canonical text; those that no namespace has are left out.

    Raises:
        OSError: they cannot be had here, and why.
    """
    argv = [sys.executable, "-P", "-m", __name__]
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            argv,
            input=json.dumps(list(addresses)),
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"it took more than {_PATIENCE_SECONDS:g} s") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise OSError(lines[-1] if lines else "the helper process died")
    found: dict[str, int] = json.loads(done.stdout)
    return found


def _look_for(wanted: frozenset[str]) -> dict[str, int]:
    """The child: go through the namespaces and stay in the last."""
    found: dict[str, int] = {}
    for path in neighbours_first():
        # It may be gone meanwhile.
        with suppress(FileNotFoundError, ProcessLookupError):
            if enter_namespace(path):
                here = wanted.intersection(node_addresses())
                found = dict.fromkeys(here, _cookie()) | found
    return found


def _cookie() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        value = probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, _COOKIE_BYTES)
    return int.from_bytes(value, sys.byteorder)


if __name__ == "__main__":
    json.dump(_look_for(frozenset(json.load(sys.stdin))), sys.stdout)
