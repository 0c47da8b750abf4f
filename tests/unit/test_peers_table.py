"""Columns of ``edgemesh get nodes -o wide`` that tell how other nodes are reached."""

from __future__ import annotations

from edgemesh.cli.peers import peer_columns
from edgemesh.cli.tables import Table
from edgemesh.model.peers import PeerStatus, Way

LINKED = PeerStatus("node-b", Way.LINK, "192.0.2.2:10006", 65.0, 3, 0.00042, "")
BY_HUB = PeerStatus("node-c", Way.HUB, "192.0.2.1:10000", 5.0, 0, 0.0, "no answer")
UNUSED = PeerStatus("node-d", Way.NONE, "", 0.0, 0, 0.0, "")


def row(node: str) -> list[str]:
    peers = {peer.node: peer for peer in (LINKED, BY_HUB, UNUSED)}
    return [column.text({"metadata": {"name": node}}) for column in peer_columns(peers)]


def test_each_way_is_shown_with_where_since_when_and_why_not_directly() -> None:
    assert row("node-b") == ["link", "192.0.2.2:10006", "65s", "0.4ms", "3", "-"]
    assert row("node-c") == ["hub", "192.0.2.1:10000", "5s", "-", "0", "no answer"]


def test_a_node_that_nobody_has_called_has_no_way_yet() -> None:
    assert row("node-d") == ["-", "-", "0s", "-", "0", "-"]


def test_a_node_without_links_has_empty_cells() -> None:
    assert row("node-x") == [""] * 6


def test_every_column_has_a_heading() -> None:
    shown = Table(peer_columns({})).format([], headings=True)
    assert shown.split() == ["ROUTE", "ADDRESS", "SINCE", "ROUND-TRIP", "STREAMS", "PROBLEM"]
