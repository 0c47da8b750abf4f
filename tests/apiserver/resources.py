"""The resource types that the server has, and the paths that lead to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from edgemesh.model.kinds import find_kind

Body = dict[str, Any]
Key = tuple[str, str]
"""Namespace ("" for objects of the cluster) and name."""


class ResourceType(NamedTuple):
    """One type of object.

    Attributes:
        group: "" for the core group.
        versions: those that are served, the preferred one first.
        custom: whether a CustomResourceDefinition brought it.
        status: whether it has the subresource ``status``.
        counted: whether ``metadata.generation`` counts changes of what is wished for.
        unconditional: whether PUT is taken without ``metadata.resourceVersion``.
    """

    group: str
    versions: tuple[str, ...]
    plural: str
    kind: str
    namespaced: bool = True
    custom: bool = False
    status: bool = False
    counted: bool = False
    unconditional: bool = True

    @property
    def title(self) -> str:
        """As messages and ``details`` name it, ``destinationrules.networking.istio.io``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_versions(self) -> tuple[str, ...]:
        """All values of ``apiVersion`` that it is served under."""
        return tuple(f"{self.group}/{version}".lstrip("/") for version in self.versions)


class Target(NamedTuple):
    """What a path names; whether the server has it is another question."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}".lstrip("/")

    @property
    def key(self) -> Key:
        return self.namespace, self.name


BUILT_IN = (
    ResourceType("", ("v1",), "namespaces", "Namespace", namespaced=False, status=True),
    ResourceType("", ("v1",), "nodes", "Node", namespaced=False, status=True),
    ResourceType("", ("v1",), "pods", "Pod", status=True, counted=True),
    ResourceType("", ("v1",), "services", "Service", status=True),
    ResourceType("", ("v1",), "endpoints", "Endpoints"),
    ResourceType("", ("v1",), "configmaps", "ConfigMap"),
    ResourceType("", ("v1",), "secrets", "Secret"),
    ResourceType("", ("v1",), "serviceaccounts", "ServiceAccount"),
    ResourceType("", ("v1",), "events", "Event"),
    ResourceType("events.k8s.io", ("v1",), "events", "Event"),
    ResourceType("discovery.k8s.io", ("v1",), "endpointslices", "EndpointSlice", counted=True),
    ResourceType("coordination.k8s.io", ("v1",), "leases", "Lease", unconditional=False),
    ResourceType("apps", ("v1",), "deployments", "Deployment", status=True, counted=True),
    ResourceType("apps", ("v1",), "daemonsets", "DaemonSet", status=True, counted=True),
    ResourceType("apps", ("v1",), "statefulsets", "StatefulSet", status=True, counted=True),
    ResourceType(
        "apiextensions.k8s.io",
        ("v1",),
        "customresourcedefinitions",
        "CustomResourceDefinition",
        namespaced=False,
        status=True,
        counted=True,
        unconditional=False,
    ),
)


def parse_path(path: str) -> Target | None:
    """Which resource a path names, or None where it names none."""
    segments = path.strip("/").split("/")
    match segments:
        case ["api", version, *rest] if rest:
            return _below("", version, rest)
        case ["apis", group, version, *rest] if rest:
            return _below(group, version, rest)
    return None


def _below(group: str, version: str, rest: list[str]) -> Target | None:
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in {"status", "finalize"}:
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3 or not all(rest):
        return None
    plural, name, subresource = [*rest, "", ""][:3]
    return Target(group, version, plural, namespace, name, subresource)


def find_type(types: Iterable[ResourceType], target: Target) -> ResourceType | None:
    """The type that is served under a path; None is the answer ``404 page not found``."""
    for type_ in types:
        if (
            (type_.group, type_.plural) == (target.group, target.plural)
            and target.version in type_.versions
            and (type_.namespaced or not target.namespace)
        ):
            return type_
    return None


def defined_type(definition: Mapping[str, Any]) -> ResourceType:
    """What a CustomResourceDefinition defines."""
    spec = definition["spec"]
    served = [version for version in spec["versions"] if version["served"]]
    return ResourceType(
        group=spec["group"],
        versions=tuple(version["name"] for version in served),
        plural=spec["names"]["plural"],
        kind=spec["names"]["kind"],
        namespaced=spec.get("scope", "Namespaced") == "Namespaced",
        custom=True,
        status=any("status" in version.get("subresources", {}) for version in served),
        counted=True,
        unconditional=False,
    )


def definition_of(plural: str, *, status: bool = True, versions: Iterable[str] = ()) -> Body:
    """A CustomResourceDefinition of a kind that edgemesh knows.

    Args:
        plural: ``destinationrules``.
        status: whether it has the subresource ``status``; KubeEdge's Rule has not.
        versions: those that are served; all that edgemesh reads unless told.
    """
    kind = find_kind(plural)
    if kind is None:
        raise ValueError(f"edgemesh does not know {plural}; give the definition itself")
    group = kind.api_versions[0].split("/")[0]
    known = list(versions) or [name.split("/")[1] for name in kind.api_versions]
    subresources: Body = {"subresources": {"status": {}}} if status else {}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"plural": plural, "kind": kind.name, "singular": kind.word},
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [
                {"name": name, "served": True, "storage": name == known[0], **subresources}
                for name in known
            ],
        },
    }
