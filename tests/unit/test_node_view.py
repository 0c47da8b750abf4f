from __future__ import annotations

from typing import Any

import pytest

from edgemesh.policy.bus.node_view import node_view


def node(**parts: Any) -> dict[str, Any]:
    metadata = {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z1"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, **parts}


def test_of_its_status_other_nodes_are_told_its_addresses_alone() -> None:
    addresses = [{"type": "InternalIP", "address": "192.0.2.1"}]
    conditions = [{"type": "Ready", "lastHeartbeatTime": "2026-11-22T20:00:00Z"}]
    body = node(status={"addresses": addresses, "conditions": conditions, "images": []})
    assert node_view(body) == node(status={"addresses": addresses})


@pytest.mark.parametrize("status", [None, {}, {"addresses": None}, {"addresses": []}, "odd"])
def test_a_status_without_addresses_is_left_out(status: object) -> None:
    assert node_view(node(status=status)) == node()


def test_everything_else_is_kept_but_what_only_writers_need() -> None:
    body = node(spec={"podCIDR": "10.244.1.0/24"})
    written = {**body, "metadata": {**body["metadata"], "managedFields": [{}]}}
    assert node_view(written) == body
    assert "managedFields" in written["metadata"]
