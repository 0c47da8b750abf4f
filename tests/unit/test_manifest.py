"""A manifest becomes checked objects, or one line that says where it is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from kube_bodies import node, pod, service
from requirement import unmet

from edgemesh.model.errors import OperatorError
from edgemesh.model.objects import ObjectKey
from edgemesh.model.settings import ManifestLimits
from edgemesh.wire.kubernetes import decode
from edgemesh.wire.manifest import ManifestObject, read_manifest

LIMITS = ManifestLimits()
REAL = Path(__file__).parents[3] / "shared/manifests"
GOOD = b"apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n"


def read(text: str | bytes, limits: ManifestLimits = LIMITS, **place: str) -> list[ManifestObject]:
    return read_manifest(
        text.encode() if isinstance(text, str) else text, "m.yaml", limits, **place
    )


def refused(text: str | bytes, limits: ManifestLimits = LIMITS) -> str:
    with pytest.raises(OperatorError) as caught:
        read(text, limits)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_objects_come_in_their_order_with_their_documents() -> None:
    text = yaml.safe_dump_all([service("a"), None, service("b"), pod("c")])
    assert [(item.key, item.document) for item in read(text)] == [
        (ObjectKey("Service", "default", "a"), 1),
        (ObjectKey("Service", "default", "b"), 3),
        (ObjectKey("Pod", "default", "c"), 4),
    ]


def test_an_object_without_a_namespace_gets_the_callers() -> None:
    [item] = read(GOOD, namespace="shop")
    assert item.key == ObjectKey("Service", "shop", "web")
    assert item.body["metadata"] == {"name": "web", "namespace": "shop"}


def test_an_object_with_a_namespace_keeps_it() -> None:
    [item] = read(yaml.safe_dump(service(namespace="shop")), namespace="other")
    assert item.key.namespace == "shop"


def test_an_object_of_the_cluster_has_no_namespace() -> None:
    body = node("edge-1", "here")
    body["metadata"]["namespace"] = "default"
    [item] = read(yaml.safe_dump(body))
    assert item.key == ObjectKey("Node", "", "edge-1")
    assert "namespace" not in item.body["metadata"]


def test_the_body_stays_whole() -> None:
    body = {**service(), "unknown": {"a": [1, None]}}
    assert read(yaml.safe_dump(body))[0].body == body


def test_a_list_is_taken_apart_in_yaml_and_in_json() -> None:
    body = {"apiVersion": "v1", "kind": "List", "items": [service("a"), service("b")]}
    expected = ["a", "b"]
    assert [item.key.name for item in read(yaml.safe_dump(body))] == expected
    assert [item.key.name for item in read(json.dumps(body))] == expected


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n---\n", "kind: List\nitems:\n"])
def test_a_manifest_may_be_empty(text: str) -> None:
    assert read(text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: b: c",
            "m.yaml: document 1, line 1, column 5: mapping values are not allowed in this context",
        ),
        ("---\n---\n5", "m.yaml: document 2: expected a mapping, got 5"),
        ("kind: List\nitems: 5", "m.yaml: document 1: items: expected a list, got 5"),
        ("kind: List\nitems: [5]", "m.yaml: document 1: items[0]: expected a mapping, got 5"),
        (
            "kind: List\nitems: [{kind: List}]",
            'm.yaml: document 1: items[0].kind: expected a kind that edgemesh keeps, got "List"',
        ),
        ("apiVersion: v1", "m.yaml: document 1: kind: required, but missing"),
        (
            "apiVersion: v1\nkind: Service",
            "m.yaml: document 1: metadata: required, but missing",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {labels: {}}",
            "m.yaml: document 1: metadata.name: required, but missing",
        ),
        (
            GOOD + b"---\n" + GOOD.replace(b"80", b"70000"),
            (
                "m.yaml: document 2: spec.ports[0].port: expected an integer from 1 to 65535,"
                " got 70000"
            ),
        ),
        (
            '{"kind": "Sarvice"}',
            'm.yaml: document 1: kind: expected a kind that edgemesh keeps, got "Sarvice"',
        ),
        ('{"kind": ', "m.yaml: document 1, line 1, column 10: Expecting value"),
    ],
)
def test_an_error_names_file_document_and_place(text: str | bytes, message: str) -> None:
    assert refused(text) == message


def test_a_manifest_that_is_too_long_is_refused() -> None:
    limits = ManifestLimits(max_bytes=len(GOOD))
    assert len(read(GOOD, limits)) == 1
    assert refused(GOOD + b"\n", limits) == f"m.yaml: larger than {len(GOOD)} bytes"


@pytest.mark.parametrize(
    "text",
    [
        b"---\n".join([GOOD] * 4),
        b"---\n" * 4 + GOOD,
        yaml.safe_dump({"kind": "List", "items": [service()] * 4}),
    ],
)
def test_a_manifest_with_too_many_documents_is_refused(text: str | bytes) -> None:
    limits = ManifestLimits(max_documents=3)
    assert refused(text, limits) == "m.yaml: more than 3 documents"


def _real(folder: str) -> list[Path]:
    return sorted((REAL / folder).glob("*.yaml"))


@pytest.mark.parametrize("folder", ["edgemesh", "kubeedge-router"])
def test_real_manifests_are_read_and_decoded(folder: str) -> None:
    paths = _real(folder)
    if not paths:
        unmet(f"no manifests in {REAL / folder}")
    for path in paths:
        documents = [d for d in yaml.safe_load_all(path.read_text()) if d]
        objects = read_manifest(path.read_bytes(), path.name, LIMITS)
        assert [item.key.name for item in objects] == [d["metadata"]["name"] for d in documents]
        for item, document in zip(objects, documents, strict=True):
            assert item.body.get("spec") == document.get("spec")
            assert decode(item.body).metadata.name == item.key.name
