"""Metrics of links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from edgemesh.bus.link.links import Links
from edgemesh.observe.metrics.exposition import Family, counter, gauge, labels


def link_families(links: Links) -> Iterator[Family]:
    """Ways to other ends, and what their links carry."""
    peers = links.peers()
    ways = Counter(str(peer.route) or "none" for peer in peers)
    yield gauge(
        "edgemesh_peers",
        "Other ends of the mesh, by how new streams get there.",
        [(labels(route=way), ways[way]) for way in sorted(ways)],
    )
    yield gauge(
        "edgemesh_link_streams",
        "Streams that are open.",
        [("", sum(peer.streams for peer in peers))],
    )
    counts = links.counts()
    for name, text, count in (
        ("links", "Links that have come up.", counts.links),
        ("links_lost", "Links that did not end in order.", counts.lost),
        ("links_refused", "Links of others that were not taken.", links.refused),
        ("link_streams_opened", "Streams that were opened, by either end.", counts.streams),
        (
            "link_dropped_datagrams",
            "Datagrams that had no credit or no room.",
            counts.dropped_datagrams,
        ),
    ):
        yield counter(f"edgemesh_{name}_total", text, [("", count)])
    yield counter(
        "edgemesh_link_bytes_total",
        "Bytes of links, TLS included.",
        [
            (labels(direction="in"), counts.bytes_in),
            (labels(direction="out"), counts.bytes_out),
        ],
    )
