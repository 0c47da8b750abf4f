"""Metrics of the connection to the cloud."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from edgemesh.model.edgehub_status import EdgehubStatus
from edgemesh.observe.metrics.exposition import Family, counter, gauge, labels


def edgehub_families(status: EdgehubStatus) -> Iterator[Family]:
    """Connection, Messages, objects, and how far this node lags behind."""
    yield gauge(
        "edgemesh_cloud_connected",
        "Whether the connection to the cloud stands.",
        [("", int(status.connected))],
    )
    yield counter(
        "edgemesh_cloud_connections_total",
        "Connections to the cloud that were made.",
        [("", status.connections)],
    )
    yield counter(
        "edgemesh_cloud_messages_total",
        "Messages to and from the cloud, by what became of them.",
        [(labels(result=name), count) for name, count in status.messages.items()],
    )
    yield counter(
        "edgemesh_cloud_objects_total",
        "Objects that the cloud has sent, by what became of them.",
        [(labels(result=name), count) for name, count in status.objects.items()],
    )
    yield gauge(
        "edgemesh_cloud_waiting_messages",
        "Messages of the cloud that are not on disk yet.",
        [("", status.waiting)],
    )
    yield gauge(
        "edgemesh_cloud_revision",
        "Revision of the cloud's store that is on disk here.",
        [("", status.revision)],
    )
    yield gauge(
        "edgemesh_cloud_unsynced_seconds",
        "Since when this node does not have all that the cloud has; 0 when it has.",
        [("", status.unsynced_seconds)],
    )
    if status.certificate_end:
        yield gauge(
            "edgemesh_certificate_expiry_seconds",
            "End of this node's certificate, seconds since 1970.",
            [("", datetime.fromisoformat(status.certificate_end).timestamp())],
        )
