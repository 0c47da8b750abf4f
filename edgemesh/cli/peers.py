"""Ways to other nodes: what ``edgemesh get nodes -o wide`` shows beside the objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from edgemesh.cli.tables import Column, format_age
from edgemesh.meta.client import Client
from edgemesh.meta.errors import RefusedError
from edgemesh.model.peers import PeerStatus
from edgemesh.wire.message import Operation

Peers = Mapping[str, PeerStatus]


async def ask_peers(client: Client) -> Peers:
    """How other nodes are reached, by name; empty where there are no links.

    Args:
        client: connected to the agent.
    """
    try:
        told = await client.request(Operation.QUERY, "null/peers")
    except RefusedError:
        return {}
    return {peer.node: peer for peer in msgspec.convert(told, list[PeerStatus])}


def peer_columns(peers: Peers) -> list[Column]:
    """How each node is reached, where, since when, in what time, and why not directly."""

    def column(heading: str, text: Callable[[PeerStatus], str]) -> Column:
        def of(body: Mapping[str, Any]) -> str:
            peer = peers.get(body["metadata"]["name"])
            return "" if peer is None else text(peer)

        return Column(heading, of)

    return [
        column("ROUTE", lambda peer: peer.route or "-"),
        column("ADDRESS", lambda peer: peer.address or "-"),
        column("SINCE", lambda peer: format_age(peer.since)),
        column("ROUND-TRIP", lambda peer: _milliseconds(peer.round_trip_seconds)),
        column("STREAMS", lambda peer: str(peer.streams)),
        column("PROBLEM", lambda peer: peer.problem or "-"),
    ]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f}ms" if seconds else "-"
