"""Metrics of what follows an API server."""

from __future__ import annotations

from collections.abc import Iterator

from edgemesh.model.kubernetes_status import KubernetesStatus
from edgemesh.observe.metrics.exposition import Family, counter, gauge, labels


def kubernetes_families(status: KubernetesStatus) -> Iterator[Family]:
    """Whether the server is reached, how far each kind is followed, and what was written to it."""
    yield gauge(
        "edgemesh_kubernetes_reached",
        "Whether the API server answers.",
        [("", int(status.reached))],
    )
    yield gauge(
        "edgemesh_kubernetes_synced",
        "Whether all objects of a kind that the API server has are here.",
        [(labels(kind=each.kind), int(each.synced)) for each in status.kinds],
    )
    yield gauge(
        "edgemesh_kubernetes_objects",
        "Objects that the API server has, by kind.",
        [(labels(kind=each.kind), each.objects) for each in status.kinds],
    )
    yield counter(
        "edgemesh_kubernetes_changes_total",
        "Changes that came from the API server, by kind.",
        [(labels(kind=each.kind), each.changes) for each in status.kinds],
    )
    yield counter(
        "edgemesh_kubernetes_restarts_total",
        "Times that the API server was asked anew because something failed, by kind.",
        [(labels(kind=each.kind), each.restarts) for each in status.kinds],
    )
    yield counter(
        "edgemesh_kubernetes_written_objects_total",
        "Objects of the API server, by what became of them here.",
        [(labels(result=name), count) for name, count in status.objects.items()],
    )
    yield gauge(
        "edgemesh_kubernetes_lease_held",
        "Whether this process holds the Lease, and tells the API server how objects stand.",
        [("", int(status.holds))],
    )
    yield counter(
        "edgemesh_kubernetes_statuses_total",
        "Times that the API server was told how an object stands.",
        [("", status.statuses)],
    )
    yield counter(
        "edgemesh_kubernetes_events_total",
        "Events that were written to the API server.",
        [("", status.events)],
    )
