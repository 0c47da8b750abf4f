"""Three network namespaces in a row: a client, a node that forwards for it, and a server.

Every subject gets a row of its own, so that rules, connection tracking and sockets in TIME_WAIT
of one never meet another. The client calls a Service address that no interface has: only what
intercepts it in the node's namespace makes it answer, or what changes the address when the client
connects. For that its programs run in a cgroup, named like its namespace, where there are cgroups
of version 2 at all.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

import trio

from bench.remains import prefix
from edgemesh.kernel.mounts import mount_point
from edgemesh.lab import cgroups, network
from edgemesh.lab.bpf import PINS

CLIENT_ADDRESS = "10.101.1.2"
NODE_CLIENT_SIDE = "10.101.1.1"
NODE_SERVER_SIDE = "10.101.2.1"
ENDPOINT_ADDRESSES = ("10.101.2.11", "10.101.2.12")

CLEAN_UP_SECONDS = 20

# One connection per operation uses ports up: 49,000 of them, each free again after a second,
# last longer than a measurement. The lower bound keeps clear of the listeners' ports.
_PORTS: Mapping[str, int | str] = {
    "net.ipv4.ip_local_port_range": "16384 65535",
    "net.ipv4.tcp_tw_reuse": 1,
}


# As the name of a Service's port says it, and as the peers are to treat it; gRPC is HTTP/2.
Protocol = Literal["tcp", "http", "http2", "grpc"]


class Address(NamedTuple):
    """Where a connection goes."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Service:
    """One Service: what clients call and who answers.

    Args:
        name: a DNS label.
        address: the Service's own.
        endpoints: those that every subject forwards to, in turn.
        protocol: that its clients speak.
    """

    name: str
    address: Address
    endpoints: tuple[Address, ...]
    protocol: Protocol = "tcp"

    @property
    def is_http2(self) -> bool:
        """Whether HTTP/2 is spoken from the first byte."""
        return self.protocol in {"http2", "grpc"}


def service(name: str, host: str, port: int, protocol: Protocol = "tcp") -> Service:
    """A Service at an address of its own, on the usual endpoints, with one port for all."""
    endpoints = tuple(Address(endpoint, port) for endpoint in ENDPOINT_ADDRESSES)
    return Service(name, Address(host, port), endpoints, protocol)


@dataclass(frozen=True, slots=True)
class Topology:
    """The names of the three namespaces; the client's is that of its cgroup, too."""

    client: str
    node: str
    server: str


@asynccontextmanager
async def topology(label: str) -> AsyncIterator[Topology]:
    """Bring up a row of namespaces and remove it in the end.

    Args:
        label: what sets this row apart from the others of this process.

    Ownership: processes that live in the namespaces have to be ended before this is left.
    """
    row = Topology(*(f"{prefix()}{label}-{part}" for part in ("client", "node", "server")))
    try:
        await trio.to_thread.run_sync(_bring_up, row)
        yield row
    finally:
        with trio.move_on_after(CLEAN_UP_SECONDS, shield=True):
            await trio.to_thread.run_sync(_remove, row)


def _bring_up(row: Topology) -> None:
    if mount_point("cgroup2") is not None:
        cgroups.add(row.client)
    add_namespaces(row.client, row.node, row.server)
    forward(row.node)
    network.connect(
        network.Attachment(row.client, "node", (f"{CLIENT_ADDRESS}/24",)),
        network.Attachment(row.node, "client", (f"{NODE_CLIENT_SIDE}/24",)),
    )
    network.connect(
        network.Attachment(row.node, "server", (f"{NODE_SERVER_SIDE}/24",)),
        network.Attachment(
            row.server, "node", tuple(f"{address}/24" for address in ENDPOINT_ADDRESSES)
        ),
    )
    network.add_route(row.client, "default", via=NODE_CLIENT_SIDE)
    network.add_route(row.server, "default", via=NODE_SERVER_SIDE)


def add_namespaces(*names: str) -> None:
    """Make namespaces in which the ports of a load last."""
    for name in names:
        network.add_namespace(name)
        for key, value in _PORTS.items():
            network.set_sysctl(name, key, value)


def forward(node: str) -> None:
    """Let a namespace forward packets."""
    network.set_sysctl(node, "net.ipv4.ip_forward", 1)
    # A call that nobody intercepts is refused at once. Refusals are limited to one a second by
    # default; then a client that asks again and again would wait for its own retransmission.
    network.set_sysctl(node, "net.ipv4.icmp_ratelimit", 0)


def _remove(row: Topology) -> None:
    for namespace in (row.client, row.node, row.server):
        network.delete_namespace(namespace)
    cgroups.remove(row.client)
    # An agent removes its own at its end; one that was killed does not.
    shutil.rmtree(PINS / row.node, ignore_errors=True)
