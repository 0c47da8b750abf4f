"""Two nodes, each with a pod's namespace behind it, and a cloud between them.

A client behind the one and a server behind the other, as in a row (`topology`); the nodes hang on
a switch, whose namespace has an address of its own and is the cloud's. All reach each other,
unless the nodes are parted: then both reach the cloud, which forwards no packets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from bench.remains import prefix
from bench.topology import (
    CLEAN_UP_SECONDS,
    CLIENT_ADDRESS,
    ENDPOINT_ADDRESSES,
    NODE_CLIENT_SIDE,
    NODE_SERVER_SIDE,
    Topology,
    add_namespaces,
    forward,
)
from edgemesh.lab import network

HUB_ADDRESS = "10.101.0.1"
NODE_ADDRESS = "10.101.0.2"
FAR_ADDRESS = "10.101.0.3"
_SWITCH = "switch"


@dataclass(frozen=True, slots=True)
class Span(Topology):
    """The names of the namespaces; ``node`` is that of the client, ``far`` that of the server."""

    far: str
    hub: str


@asynccontextmanager
async def span(label: str, *, parted: bool = False) -> AsyncIterator[Span]:
    """Bring up a span of namespaces and remove it in the end.

    Args:
        label: what sets it apart from the others of this process.
        parted: whether the nodes reach the cloud only.

    Ownership: processes that live in the namespaces have to be ended before this is left.
    """
    parts = ("client", "node", "server", "far", "hub")
    names = Span(*(f"{prefix()}{label}-{part}" for part in parts))
    try:
        await trio.to_thread.run_sync(_bring_up, names, parted)
        yield names
    finally:
        with trio.move_on_after(CLEAN_UP_SECONDS, shield=True):
            await trio.to_thread.run_sync(_remove, names)


def _bring_up(names: Span, parted: bool) -> None:
    add_namespaces(names.client, names.node, names.server, names.far, names.hub)
    network.add_bridge(names.hub, _SWITCH, (f"{HUB_ADDRESS}/24",))
    _add_node(names, names.node, "node", NODE_ADDRESS, parted=parted)
    _add_node(names, names.far, "far", FAR_ADDRESS, parted=parted)
    network.connect(
        network.Attachment(names.client, "node", (f"{CLIENT_ADDRESS}/24",)),
        network.Attachment(names.node, "client", (f"{NODE_CLIENT_SIDE}/24",)),
    )
    network.connect(
        network.Attachment(names.far, "server", (f"{NODE_SERVER_SIDE}/24",)),
        network.Attachment(
            names.server, "node", tuple(f"{address}/24" for address in ENDPOINT_ADDRESSES)
        ),
    )
    network.add_route(names.client, "default", via=NODE_CLIENT_SIDE)
    network.add_route(names.server, "default", via=NODE_SERVER_SIDE)
    network.add_route(names.node, "default", via=FAR_ADDRESS)
    network.add_route(names.far, "default", via=NODE_ADDRESS)


def _add_node(names: Span, node: str, port: str, address: str, *, parted: bool) -> None:
    forward(node)
    network.connect(
        network.Attachment(node, "eth0", (f"{address}/24",)),
        network.Attachment(names.hub, port, bridge=_SWITCH),
    )
    if parted:
        network.isolate_port(names.hub, port, isolated=True)


def _remove(names: Span) -> None:
    for namespace in (names.client, names.node, names.server, names.far, names.hub):
        network.delete_namespace(namespace)
