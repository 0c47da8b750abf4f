"""What an installation on Kubernetes can be told: the chart's values, with their types.

The defaults stand in chart/values.yaml, each with what it means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from edgemesh.deploy.yaml_text import read_documents
from edgemesh.model.configuration import read_settings
from edgemesh.model.errors import OperatorError

Port = Annotated[int, Meta(ge=1, le=65535)]
NodePort = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
Share = Annotated[str, Meta(pattern="^([1-9][0-9]?|100)%$")]
Address = Annotated[str, Meta(pattern=r"^[0-9A-Za-z.:-]*$")]
Config = dict[str, dict[str, str | bool | int | float | list[str | int]]]
# What Kubernetes' own objects have in these places is for its API server to judge.
Anything = dict[str, Any]


class _Values(Struct, forbid_unknown_fields=True, rename="camel"):
    """Base of groups of values."""


class Namespace(_Values):
    """``namespace``."""

    create: bool


class Image(_Values):
    """``image``."""

    repository: Annotated[str, Meta(min_length=1)]
    tag: str
    pull_policy: Literal["Always", "IfNotPresent", "Never"]
    pull_secrets: list[str]


class Crds(_Values):
    """``crds``."""

    traffic_policy: bool
    kubeedge_rules: bool


class Agent(_Values):
    """``agent``."""

    follow: Literal["cloud", "kubernetes"]
    server: str
    config: Config
    token_secret: str
    admin_port: Port
    admin_public: bool
    drain_seconds: Count
    privileged: bool
    host_pid: bool = msgspec.field(name="hostPID")
    resources: Anything
    priority_class_name: str
    max_unavailable: Count | Share
    node_selector: dict[str, str]
    affinity: Anything
    tolerations: list[Anything]


class Postgresql(_Values):
    """``cloud.postgresql``."""

    secret_name: str
    secret_key: str


class Persistence(_Values):
    """``cloud.persistence``."""

    existing_claim: str
    storage_class_name: str
    size: str


class NodePorts(_Values):
    """``cloud.service.nodePorts``."""

    hub: NodePort
    enrolment: NodePort
    rest: NodePort


class CloudService(_Values):
    """``cloud.service``."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"]
    annotations: dict[str, str]
    node_ports: NodePorts


class Cloud(_Values):
    """``cloud``."""

    enabled: bool
    address: Address
    port: Port
    enrolment_port: Port
    names: list[Address]
    server: str
    config: Config
    replicas: Count
    postgresql: Postgresql
    persistence: Persistence
    service: CloudService
    resources: Anything
    priority_class_name: str
    node_selector: dict[str, str]
    affinity: Anything
    tolerations: list[Anything]


class NetworkPolicy(_Values):
    """``networkPolicy``."""

    enabled: bool
    monitoring_namespace: dict[str, str]


class PodMonitor(_Values):
    """``podMonitor``."""

    enabled: bool
    interval: str
    labels: dict[str, str]


class Values(_Values):
    """All of them."""

    namespace: Namespace
    image: Image
    crds: Crds
    agent: Agent
    cloud: Cloud
    network_policy: NetworkPolicy
    pod_monitor: PodMonitor
    # What Helm hands to every chart that is part of another one.
    shared: Anything = msgspec.field(name="global", default_factory=dict)


def combine(defaults: Mapping[str, Any], layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Lay values over each other as Helm does: mappings join, everything else takes its place.

    Raises:
        OperatorError: a value is unknown, or not of its kind.
    """
    values = dict(defaults)
    for layer in layers:
        values = _join(values, layer)
    try:
        read = msgspec.convert(values, Values)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        place = path.rstrip("`").lstrip(".") or "values"
        raise OperatorError(f"{place}: {problem[:1].lower()}{problem[1:]}") from None
    read_settings(read.agent.config, "agent.config")
    read_settings(read.cloud.config, "cloud.config")
    return values


def values_schema() -> dict[str, Any]:
    """The types as a JSON Schema, which Helm checks values by."""
    schema = msgspec.json.schema(Values)
    definitions = schema["$defs"]
    return {**definitions.pop("Values"), "$defs": definitions}


def read_assignment(text: str) -> dict[str, Any]:
    r"""Read ``cloud.address=mesh.example.org``; the value is YAML.

    A dot that belongs to a key is written ``\.``, as for Helm.

    Raises:
        OperatorError: it is no assignment.
    """
    path, equals, value = text.partition("=")
    if not path or not equals:
        raise OperatorError(f"--set {text!r} is not KEY=VALUE", "as in cloud.address=192.0.2.1")
    read = _value(value, path)
    first, *others = (key.replace("\\.", ".") for key in re.split(r"(?<!\\)\.", path))
    for key in reversed(others):
        read = {key: read}
    return {first: read}


def _value(text: str, path: str) -> Any:
    documents = read_documents(text.encode(), f"--set {path}")
    if len(documents) > 1:
        raise OperatorError(f"--set {path}: expected one value")
    return documents[0] if documents else ""


def _join(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    joined = dict(below)
    for key, value in above.items():
        beneath = joined.get(key)
        if isinstance(beneath, Mapping) and isinstance(value, Mapping):
            joined[key] = _join(beneath, value)
        else:
            joined[key] = value
    return joined
