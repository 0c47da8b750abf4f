"""Which pods a machine of the Vagrant lab runs, and what the cloud is told of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemesh.lab.machine import objects_of, place
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import ManifestLimits
from edgemesh.wire.manifest import ManifestObject, read_manifest

_ROOT = Path(__file__).parents[2]
# What vagrant/provision gives to the machines.
_FILES = (
    _ROOT / "edgemesh/lab/manifests/journeys.yaml",
    _ROOT / "vagrant/manifests/web.yaml",
)


def shipped() -> list[ManifestObject]:
    return [
        one for path in _FILES for one in read_manifest(path.read_bytes(), "", ManifestLimits())
    ]


def pod(node: str, kind: str = "Pod") -> list[ManifestObject]:
    spec = f"{{nodeName: {node}, containers: [{{name: c, image: lab/idle}}]}}"
    if kind == "Deployment":
        spec = f"{{selector: {{matchLabels: {{}}}}, template: {{spec: {spec}}}}}"
    text = f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: p}}\nspec: {spec}\n"
    text = text.replace("v1", "apps/v1") if kind == "Deployment" else text
    return read_manifest(text.encode(), "", ManifestLimits())


def test_no_two_pods_have_one_place() -> None:
    placed = list(place(shipped()))
    addresses = {one.node.pod_addresses(one.slot) for one in placed}
    assert len(addresses) == len(placed) > 0


def test_every_machine_has_a_pod() -> None:
    assert {one.node.name for one in place(shipped())} == {"cloud", "edge-1", "edge-2"}


def test_the_cloud_is_told_of_each_pod_where_its_machine_runs_it() -> None:
    told = {
        body["metadata"]["name"]: (body["spec"]["nodeName"], body["status"]["podIP"])
        for body in objects_of(shipped())
        if body["kind"] == "Pod"
    }
    run = {
        one.workload.owner.name: (one.node.name, one.node.pod_addresses(one.slot)[0])
        for one in place(shipped())
    }
    assert told == run


def test_the_cloud_is_told_of_everything_else_as_it_is_written() -> None:
    told = objects_of(shipped())
    written = [one.body for one in shipped() if one.key.kind != "Pod"]
    assert [body for body in told if body["kind"] not in {"Node", "Pod"}] == written


def test_nodes_have_the_addresses_of_the_private_network() -> None:
    told = {
        body["metadata"]["name"]: body["status"]["addresses"][0]["address"]
        for body in objects_of([])
    }
    assert told == {
        "cloud": "192.168.56.10",
        "edge-1": "192.168.56.11",
        "edge-2": "192.168.56.12",
    }


@pytest.mark.parametrize("objects", [pod("edge-3"), pod("edge-1", "Deployment")])
def test_a_pod_without_a_machine_is_refused_by_name(objects: list[ManifestObject]) -> None:
    with pytest.raises(OperatorError, match=r"default/p: machines run Pods whose spec\.nodeName"):
        list(place(objects))
