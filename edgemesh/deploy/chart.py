"""The objects of an installation, as the Helm chart that comes with this package has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

from edgemesh.deploy.gotemplate.execute import Templates
from edgemesh.deploy.gotemplate.parse import parse
from edgemesh.deploy.values import combine
from edgemesh.deploy.yaml_text import read_mapping
from edgemesh.model.errors import OperatorError

# kubectl applies objects in the order in which they come: what others need goes first.
_FIRST = (
    "Namespace",
    "CustomResourceDefinition",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "PersistentVolumeClaim",
    "Service",
)
# RFC 1123 label.
_NAMESPACE = re.compile("[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_DOCUMENTS = re.compile(r"^---\s*$", re.MULTILINE)


class Document(NamedTuple):
    """One object.

    Args:
        text: YAML, with what the chart's authors say about it.
        body: the same as JSON values.
    """

    text: str
    body: dict[str, Any]


def chart_directory() -> Traversable:
    """Where the chart lies; ``helm install`` takes the path."""
    return files("edgemesh.deploy") / "chart"


def default_values() -> dict[str, Any]:
    """The chart's values.yaml."""
    return _mapping(chart_directory() / "values.yaml")


def render(namespace: str, layers: Iterable[Mapping[str, Any]]) -> list[Document]:
    """All objects, in an order in which they can be applied.

    Args:
        namespace: for those that live in one.
        layers: values, each over those before it, and all over the defaults.

    Raises:
        OperatorError: the values are not understood or contradict each other.
    """
    if not _NAMESPACE.fullmatch(namespace):
        raise OperatorError(f"namespace {namespace!r} is no name of at most 63 letters and digits")
    chart = chart_directory()
    given = {
        "Values": combine(default_values(), layers),
        "Release": {"Namespace": namespace},
        "Chart": _chart_facts(chart),
        "Files": {"Get": lambda path: (chart / path).read_text()},
    }
    sources = {each.name: parse(each.read_text()) for each in (chart / "templates").iterdir()}
    templates = Templates(sources)
    documents = [
        document
        for name in sorted(sources)
        if not name.startswith("_")
        for document in _documents(templates.render(name, given), name)
    ]
    return sorted(documents, key=_rank)


def _chart_facts(chart: Traversable) -> dict[str, str]:
    return {"AppVersion": _mapping(chart / "Chart.yaml")["appVersion"]}


def _mapping(file: Traversable) -> dict[str, Any]:
    return read_mapping(file.read_bytes(), file.name)


def _documents(text: str, name: str) -> Iterator[Document]:
    for part in _DOCUMENTS.split(text):
        body = read_mapping(part.encode(), name)
        if body:
            yield Document(part.strip() + "\n", body)


def _rank(document: Document) -> int:
    kind = document.body["kind"]
    return _FIRST.index(kind) if kind in _FIRST else len(_FIRST)
