"""A node's connection to the cloud as operators see it."""

from __future__ import annotations

from dataclasses import replace

from edgemesh.app.edgehub_metrics import edgehub_families
from edgemesh.cli.status_page import status_page
from edgemesh.model.edgehub_status import EdgehubStatus
from edgemesh.model.status import (
    AgentStatus,
    FlowStatus,
    InterceptionStatus,
    SnapshotStatus,
    StoreStatus,
)

CLOUD = EdgehubStatus(
    address="cloud:10000",
    connected=True,
    seconds=3725,
    peer="edgemesh",
    store="uid",
    revision=42,
    synced=True,
    certificate_end="2026-12-22T17:54:37Z",
    connections=3,
    messages={"received": 7, "sent": 9},
    objects={"stored": 5, "refused": 1},
)


def row(cloud: EdgehubStatus | None) -> list[str]:
    status = AgentStatus(
        node="edge-1",
        version="0.1.0",
        pid=1,
        uptime_seconds=1,
        listeners={},
        interception=InterceptionStatus("nft", "tproxy", "both", "open", True, 12),
        store=StoreStatus("sqlite://", 42, 31),
        snapshot=SnapshotStatus(42, 10, 30),
        flows=FlowStatus(0, 0, 0),
        paths={},
        memory_bytes=1,
        cloud=cloud,
    )
    lines = status_page(status).splitlines()
    return [line.removeprefix("cloud").strip() for line in lines if line.startswith("cloud ")]


def metrics(cloud: EdgehubStatus) -> dict[str, float]:
    lines = [
        line
        for family in edgehub_families(cloud)
        for piece in family.pieces
        for line in piece.splitlines()
    ]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_a_node_without_a_cloud_says_nothing_of_one() -> None:
    assert row(None) == []


def test_a_connection_that_stands_is_told_in_one_line() -> None:
    [text] = row(CLOUD)
    assert text == (
        "cloud:10000 (edgemesh), connected for 1 h 2 min, revision 42, "
        "certificate until 2026-12-22T17:54:37Z"
    )


def test_one_that_does_not_stand_is_not_overlooked_and_how_far_behind_it_is() -> None:
    away = replace(CLOUD, connected=False, seconds=5, synced=False, unsynced_seconds=65)
    [text] = row(away)
    assert text == (
        "cloud:10000 (edgemesh), NOT CONNECTED for 5 s, revision 42, 1 min 5 s behind, "
        "certificate until 2026-12-22T17:54:37Z"
    )
    assert row(EdgehubStatus("cloud:10000", False, 0)) == ["cloud:10000, NOT CONNECTED for 0 s"]


def test_problems_name_the_cloud_and_the_objects() -> None:
    assert list(CLOUD.problems()) == []
    ill = replace(
        CLOUD,
        connected=False,
        problem="silent for 45 s",
        notices=("disk is full",),
        refused={"default/secret/a": "unknown"},
    )
    assert list(ill.problems()) == [
        "cloud cloud:10000: silent for 45 s",
        "cloud cloud:10000: disk is full",
        "default/secret/a of the cloud is not stored: unknown",
    ]
    assert list(EdgehubStatus("c:1", False, 0).problems()) == ["cloud c:1: not connected yet"]


def test_metrics_tell_the_same() -> None:
    found = metrics(CLOUD)
    assert found["edgemesh_cloud_connected"] == 1
    assert found["edgemesh_cloud_connections_total"] == 3
    assert found['edgemesh_cloud_messages_total{result="received"}'] == 7
    assert found['edgemesh_cloud_objects_total{result="refused"}'] == 1
    assert found["edgemesh_cloud_revision"] == 42
    assert found["edgemesh_cloud_unsynced_seconds"] == 0
    assert found["edgemesh_certificate_expiry_seconds"] == 1797962077
    assert "edgemesh_certificate_expiry_seconds" not in metrics(replace(CLOUD, certificate_end=""))
