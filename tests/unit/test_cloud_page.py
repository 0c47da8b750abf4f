from __future__ import annotations

import time

from edgemesh.cli.cloud_page import cloud_page
from edgemesh.model.cloud_status import CloudStatus, ConnectedNode
from edgemesh.model.status import StoreStatus


def status(*nodes: ConnectedNode, **changed: object) -> CloudStatus:
    values: dict[str, object] = {
        "name": "c1",
        "version": "1.0",
        "pid": 7,
        "uptime_seconds": 61.0,
        "listeners": {"hub": ("127.0.0.1:10000",), "admin": ()},
        "store": StoreStatus(url="sqlite:///x", revision=5, objects=3),
        "nodes": nodes,
        "refused": {},
        "memory_bytes": 1048576,
        **changed,
    }
    return CloudStatus(**values)  # type: ignore[arg-type]


def test_a_cloud_shows_its_nodes_as_a_table() -> None:
    since = time.time() - 125
    page = cloud_page(
        status(
            ConnectedNode("n1", "edgemesh", "192.0.2.1:40000", since, 5, 0),
            ConnectedNode("edge-2", "KubeEdge", "192.0.2.22:4", since, 4, 12),
        )
    )
    assert page.splitlines() == [
        "edgemesh 1.0 cloud c1: up 1 min 1 s, pid 7, 1.0 MiB",
        "listens hub       127.0.0.1:10000",
        "listens admin     nowhere",
        "store             sqlite:///x, revision 5, 3 objects",
        "nodes             2",
        "",
        "NODE     KIND       FROM              SINCE   REVISION   WAITING",
        "n1       edgemesh   192.0.2.1:40000   2m5s    5          0",
        "edge-2   KubeEdge   192.0.2.22:4      2m5s    4          12",
    ]


def test_a_cloud_shows_replicas_refusals_and_problems_where_there_are_any() -> None:
    changed = {"replicas": ("a", "b"), "refused": {"silent": 2, "replayed": 1}, "problems": ("P",)}
    assert cloud_page(status(**changed)).splitlines()[4:] == [
        "replicas          a, b",
        "nodes             0",
        "refused           replayed 1, silent 2",
        "PROBLEM           P",
    ]
