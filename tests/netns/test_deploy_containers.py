"""What manifests grant is enough: their containers start, serve and end with no more than that."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from deploy_container import Container, started
from interception_lab import output
from lab_homes import wait_for

from edgemesh.deploy.chart import render
from edgemesh.lab import bpf
from edgemesh.lab.plan import Node

pytestmark = pytest.mark.root

ADDRESS = {"cloud": {"address": "192.0.2.1", "server": ""}}


def manifest(kind: str, *layers: dict[str, Any]) -> dict[str, Any]:
    [found] = [
        each.body for each in render("mesh", [ADDRESS, *layers]) if each.body["kind"] == kind
    ]
    return found


def paths(container: Container) -> dict[str, str]:
    found: dict[str, str] = json.loads(container.get("/status")[1])["paths"]
    return found


@pytest.fixture
def node_with_bpf(lone_node: str) -> Iterator[Node]:
    """Its BPF is about a cgroup of its own, not about the host."""
    node = Node(lone_node.removesuffix("-node"), "node", 0)
    bpf.make(node.lab, [node])
    yield node
    bpf.remove(node.lab)


def test_the_cloud_serves_without_any_privilege(lone_node: str, tmp_path: Path) -> None:
    deployment = manifest("Deployment")
    with started(lone_node, deployment, "", tmp_path) as container:
        container.wait_until_ready()
        assert '"names":["edgemesh-cloud.mesh.svc","192.0.2.1"' in container.log
        assert container.stop() == 0, container.log


def as_toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    return "".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        for name, keys in tables.items()
    )


@contextmanager
def agent_of(node: Node, namespace: str, folder: Path) -> Iterator[Container]:
    """The container of the DaemonSet, once it is ready; BPF may be on its way still."""
    toml = as_toml({"bpf": bpf.settings(node)})
    enter = bpf.command_on(node, [])
    with started(namespace, manifest("DaemonSet"), toml, folder, *enter) as container:
        container.wait_until_ready()
        yield container


@pytest.mark.long
def test_an_agent_needs_no_capability_that_is_not_named(
    lone_node: str, node_with_bpf: Node, tmp_path: Path
) -> None:
    with agent_of(node_with_bpf, lone_node, tmp_path) as container:
        status = json.loads(container.get("/status")[1])
        assert status["node"] == "node-1"
        assert status["interception"]["installed"]
        assert "table inet edgemesh" in output(lone_node, ["nft", "list", "tables"])
        wait_for(lambda: paths(container)["connect"] != "being loaded", "BPF is loaded", 90)
        assert paths(container) == dict.fromkeys(
            ("connect", "splice", "relay", "http"), "available"
        )
        assert container.stop() == 0, container.log


@pytest.mark.long
def test_an_agent_that_is_told_to_stop_while_it_loads_bpf_ends_by_itself(
    lone_node: str, node_with_bpf: Node, tmp_path: Path
) -> None:
    """Its guard must not take it for one that hangs."""
    with agent_of(node_with_bpf, lone_node, tmp_path) as container:
        assert container.stop() == 0, container.log
        assert output(lone_node, ["nft", "list", "tables"]) == ""
