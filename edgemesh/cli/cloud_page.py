"""A cloud's status as a page for people."""

from __future__ import annotations

import time
from collections.abc import Iterator

from edgemesh.cli.status_page import duration, kubernetes_rows, size
from edgemesh.cli.tables import format_age
from edgemesh.model.cloud_status import CloudStatus, ConnectedNode

_LABEL_WIDTH = 18
_HEADINGS = ("NODE", "KIND", "FROM", "SINCE", "REVISION", "WAITING")


def cloud_page(status: CloudStatus) -> str:
    """The page, without an end of line at its end."""
    headline = (
        f"edgemesh {status.version} cloud {status.name}: "
        f"up {duration(status.uptime_seconds)}, pid {status.pid}, {size(status.memory_bytes)}"
    )
    rows = [f"{label:<{_LABEL_WIDTH}}{text}" for label, text in _rows(status)]
    return "\n".join([headline, *rows, *_table(status.nodes)])


def _rows(status: CloudStatus) -> Iterator[tuple[str, str]]:
    for kind, addresses in status.listeners.items():
        yield f"listens {kind}", ", ".join(addresses) or "nowhere"
    store = status.store
    yield "store", f"{store.url}, revision {store.revision}, {store.objects} objects"
    if status.replicas:
        yield "replicas", ", ".join(status.replicas)
    if status.kubernetes is not None:
        yield from kubernetes_rows(status.kubernetes)
    yield "nodes", str(len(status.nodes))
    if status.refused:
        counts = (f"{why} {count}" for why, count in sorted(status.refused.items()))
        yield "refused", ", ".join(counts)
    for problem in status.problems:
        yield "PROBLEM", problem


def _table(nodes: tuple[ConnectedNode, ...]) -> Iterator[str]:
    """The connected nodes, if there are any."""
    if not nodes:
        return
    now = time.time()
    rows = [
        _HEADINGS,
        *(
            (
                node.node,
                node.kind,
                node.address,
                format_age(now - node.since),
                str(node.revision),
                str(node.waiting),
            )
            for node in nodes
        ),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield ""
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield "   ".join(cells).rstrip()
