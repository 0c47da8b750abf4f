"""What a container becomes in the lab: a built-in app and its environment. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgemesh.model.errors import OperatorError
from edgemesh.wire.kubernetes.pods import Container, EnvironmentVariable, Pod, PodSpec

APP_ANNOTATION = "edgemesh.io/lab-app"
_APPS = "edgemesh.lab.apps"

# App by the last part of an image's name; apps are images of their own name too.
_APP_OF_IMAGE = {
    "serve_hostname": "serve_hostname",
    "go-echo": "line_echo",
    "line_echo": "line_echo",
    "byte_echo": "byte_echo",
    "websocket_echo": "websocket_echo",
    "every_echo": "every_echo",
    "fallible": "fallible",
    "busybox": "idle",
    "idle": "idle",
}
APPS = tuple(sorted(set(_APP_OF_IMAGE.values())))


@dataclass(frozen=True, slots=True)
class Program:
    """How a container is run.

    Args:
        app: the built-in app.
        arguments: to the Python interpreter.
        environment: the whole of it.
    """

    app: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]


def program_of(pod: Pod, body: Mapping[str, Any], path: str) -> Program:
    """What to run for the one container of a Pod.

    Args:
        pod: with its node name and its addresses.
        body: the same Pod, whole.
        path: the value of PATH.

    Raises:
        OperatorError: the lab cannot run it.
    """
    where = f"Pod {pod.metadata.namespace}/{pod.metadata.name}"
    app = app_of(pod.spec, pod.metadata.annotations, where)
    container = pod.spec.containers[0]
    return Program(
        app,
        ("-m", f"{_APPS}.{app}", *_arguments(container, app)),
        {
            "PATH": path,
            "HOSTNAME": pod.metadata.name,
            **{variable.name: _value(variable, body, where) for variable in container.env},
        },
    )


def app_of(spec: PodSpec, annotations: Mapping[str, str], where: str) -> str:
    """The built-in app that stands for the one container of a Pod.

    The annotation decides where there is one, else the name of the image.

    Args:
        spec: of the Pod.
        annotations: of the Pod.
        where: names the Pod in messages.

    Raises:
        OperatorError: no app does, or there is not exactly one container.
    """
    if len(spec.containers) != 1:
        raise OperatorError(f"{where}: the lab runs Pods of exactly one container")
    remedy = f"set the annotation {APP_ANNOTATION} to one of {', '.join(APPS)}"
    app = annotations.get(APP_ANNOTATION, "")
    if app and app not in APPS:
        raise OperatorError(f"{where}: unknown lab app {app!r}", remedy)
    image = spec.containers[0].image
    name = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    if not app and name not in _APP_OF_IMAGE:
        raise OperatorError(f"{where}: no built-in app stands for image {image!r}", remedy)
    return app or _APP_OF_IMAGE[name]


def _arguments(container: Container, app: str) -> tuple[str, ...]:
    """What follows the program in ``command``, and ``args``; an idle container's are its sleep."""
    return () if app == "idle" else (*container.command[1:], *container.args)


def _value(variable: EnvironmentVariable, body: Mapping[str, Any], where: str) -> str:
    if variable.value_from is None:
        return variable.value
    reference = variable.value_from.get("fieldRef")
    path = reference.get("fieldPath") if isinstance(reference, Mapping) else None
    if not isinstance(path, str):
        raise OperatorError(f"{where}: env {variable.name}: the lab resolves only fieldRef")
    return field_value(body, path, where)


def field_value(body: Mapping[str, Any], path: str, where: str) -> str:
    """A field that the Downward API offers, such as ``status.podIP`` or ``metadata.labels['x']``.

    Raises:
        OperatorError: the Pod has no such field.
    """
    table, bracket, rest = path.partition("['")
    steps = [*table.split("."), *([rest.removesuffix("']")] if bracket else [])]
    value: Any = body
    for step in steps:
        value = value.get(step) if isinstance(value, Mapping) else None
    if not isinstance(value, str):
        raise OperatorError(f"{where}: it has no field {path}")
    return value
