"""Of a mirrored object, what changes without meaning is left out, and the rest stays."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from edgemesh.model.kinds import KINDS, Kind, find_kind
from edgemesh.model.reflection import Resource
from edgemesh.model.streams import LINK_ANNOTATION, VERSION_ANNOTATION
from edgemesh.policy.mirrored import kept, with_own_annotations
from edgemesh.policy.selection import chooses

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def kind(name: str) -> Kind:
    found = find_kind(name)
    assert found is not None
    return found


def body(**parts: Any) -> dict[str, Any]:
    metadata = {"name": "a", "managedFields": [{"manager": "kubectl"}], "labels": {"x": "1"}}
    return {"metadata": metadata, "spec": {"a": 1}, **parts}


def test_what_only_writers_care_for_is_left_out_and_the_object_stays_as_it_was() -> None:
    whole = body(status={"loadBalancer": {}})
    whole["metadata"]["annotations"] = {LAST_APPLIED: "{}", "mine": "yes"}
    before = copy.deepcopy(whole)
    assert kept(kind("Service"), whole) == {
        "metadata": {"name": "a", "labels": {"x": "1"}, "annotations": {"mine": "yes"}},
        "spec": {"a": 1},
        "status": {"loadBalancer": {}},
    }
    assert whole == before


@pytest.mark.parametrize("name", [*(one.name for one in KINDS if one.judged), "Rule"])
def test_what_we_say_of_an_object_does_not_come_back_as_a_change(name: str) -> None:
    assert "status" not in kept(kind(name), body(status={"conditions": [{}]}))


def test_a_nodes_heartbeat_is_no_change() -> None:
    def node(beat: str) -> dict[str, Any]:
        ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": beat}
        images = [{"names": [beat]}]
        status = {"conditions": [ready, "odd"], "images": images, "addresses": [{}]}
        return kept(kind("Node"), body(status=status))

    assert node("now") == node("then")
    ready = {"type": "Ready", "status": "True"}
    assert node("now")["status"] == {"conditions": [ready, "odd"], "addresses": [{}]}
    assert kept(kind("Node"), body(status={"phase": "x"}))["status"] == {"phase": "x"}
    assert kept(kind("Node"), body(status=None))["status"] is None


def test_a_node_keeps_what_it_has_said_here_of_itself() -> None:
    own = {LINK_ANNOTATION: "10.0.0.1:10006", VERSION_ANNOTATION: "1"}
    present = {"metadata": {"annotations": {**own, "theirs": "old"}}}
    sent = {"metadata": {"name": "n", "annotations": {"theirs": "new"}}}
    assert with_own_annotations(sent, present) == {
        "metadata": {"name": "n", "annotations": {"theirs": "new", **own}}
    }
    bare = {"metadata": {"name": "n", "annotations": None}}
    assert with_own_annotations(bare, present)["metadata"]["annotations"] == own
    assert with_own_annotations(sent, {"metadata": {}}) is sent


@pytest.mark.parametrize(
    ("fields", "labels", "chosen"),
    [
        ("", "", True),
        ("spec.nodeName=edge-1", "", True),
        ("spec.nodeName=edge-2", "", False),
        ("spec.nodeName=edge-1,metadata.name=web", "", True),
        ("spec.nodeName=edge-1,metadata.name=other", "", False),
        ("spec.nodeName.deeper=edge-1", "", False),
        ("", "app=web,tier!=back", True),
        ("", "app=api", False),
    ],
)
def test_selectors_choose_as_the_api_server_does(fields: str, labels: str, chosen: bool) -> None:
    pod = {"metadata": {"name": "web", "labels": {"app": "web"}}, "spec": {"nodeName": "edge-1"}}
    resource = Resource("Pod", "/api/v1/pods", field_selector=fields, label_selector=labels)
    assert chooses(resource, pod) is chosen
