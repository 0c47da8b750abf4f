"""What runs in a pod: the app that stands for an image, its arguments and its environment."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edgemesh.lab.containers import APP_ANNOTATION, Program, program_of
from edgemesh.model.errors import OperatorError
from edgemesh.wire.kubernetes import decode_as
from edgemesh.wire.kubernetes.pods import Pod

BODY: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app.io/name": "web"}},
    "spec": {"nodeName": "edge-1", "serviceAccountName": "default"},
    "status": {"podIP": "10.244.1.2"},
}


def program(annotations: dict[str, str] | None = None, **container: Any) -> Program:
    body = {
        **BODY,
        "metadata": {**BODY["metadata"], "annotations": annotations or {}},
        "spec": {**BODY["spec"], "containers": [container]},
    }
    return program_of(decode_as(Pod, body), body, "/bin")


def variable(path: str) -> dict[str, Any]:
    return {"name": "V", "valueFrom": {"fieldRef": {"fieldPath": path}}}


@pytest.mark.parametrize(
    ("image", "app"),
    [
        ("poorunga/serve_hostname:latest", "serve_hostname"),
        ("registry.example:5000/poorunga/go-echo", "line_echo"),
        ("busybox:1.28", "idle"),
        ("busybox@sha256:00ff", "idle"),
        ("edgemesh.io/lab/websocket_echo", "websocket_echo"),
    ],
)
def test_the_last_part_of_an_images_name_chooses_the_app(image: str, app: str) -> None:
    assert program(image=image).app == app


def test_the_annotation_wins_over_the_image() -> None:
    assert program({APP_ANNOTATION: "byte_echo"}, image="nginx").app == "byte_echo"


def test_a_wrong_annotation_is_refused_with_the_known_apps() -> None:
    with pytest.raises(
        OperatorError, match=r"Pod shop/web-1: .*'nginx'.*byte_echo, every_echo, fallible, idle"
    ):
        program({APP_ANNOTATION: "nginx"}, image="busybox")


def test_command_and_args_follow_the_program() -> None:
    made = program(image="serve_hostname", command=["/serve_hostname", "--udp=true"], args=["-x"])
    assert made.arguments == ("-m", "edgemesh.lab.apps.serve_hostname", "--udp=true", "-x")


def test_what_an_idle_container_would_execute_is_left_out() -> None:
    made = program(image="busybox", command=["/bin/sh"], args=["sleep", "12000"])
    assert made.arguments == ("-m", "edgemesh.lab.apps.idle")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.nodeName", "edge-1"),
        ("metadata.name", "web-1"),
        ("metadata.namespace", "shop"),
        ("status.podIP", "10.244.1.2"),
        ("spec.serviceAccountName", "default"),
        ("metadata.labels['app.io/name']", "web"),
    ],
)
def test_variables_take_fields_of_the_pod(path: str, value: str) -> None:
    assert program(image="idle", env=[variable(path)]).environment["V"] == value


def test_the_environment_is_the_containers_own() -> None:
    made = program(image="idle", env=[{"name": "TCP_PORT", "value": "2701"}])
    assert made.environment == {"PATH": "/bin", "HOSTNAME": "web-1", "TCP_PORT": "2701"}


@pytest.mark.parametrize(
    "wrong",
    [
        variable("status.hostIPs"),
        variable("metadata.labels['none']"),
        {"name": "V", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "V", "valueFrom": {"fieldRef": {}}},
    ],
    ids=["no such field", "no such label", "a secret", "no path"],
)
def test_a_variable_that_cannot_be_resolved_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OperatorError, match="Pod shop/web-1"):
        program(image="idle", env=[wrong])


def test_a_pod_of_two_containers_is_refused() -> None:
    body = {**BODY, "spec": {"containers": [{"image": "idle"}, {"image": "idle"}]}}
    with pytest.raises(OperatorError, match="exactly one container"):
        program_of(msgspec.convert(body, Pod), body, "/bin")
