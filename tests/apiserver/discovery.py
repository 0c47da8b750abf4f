"""What groups, versions and resources there are, and which release this is."""

from __future__ import annotations

from collections.abc import Iterable

from apiserver.answers import TEXT, Answer, ok
from apiserver.resources import Body, ResourceType

VERSION: Body = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.2",
    "gitCommit": "98b35193b2ac7a23a673325f5e9b830ecd5ba406",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "go1.26.5",
    "compiler": "gc",
    "platform": "linux/amd64",
}
_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


def discovered(path: str, types: Iterable[ResourceType]) -> Answer | None:
    """The answer to a path of discovery, or None where the path is of another sort."""
    types = list(types)
    match path.strip("/").split("/"):
        case ["version"]:
            return ok(VERSION)
        case ["healthz" | "livez" | "readyz"]:
            headers = (("Content-Type", TEXT), ("X-Content-Type-Options", "nosniff"))
            return Answer(200, b"ok", headers)
        case ["api"]:
            return ok({"kind": "APIVersions", "versions": ["v1"]})
        case ["api", "v1"]:
            return ok(_resources("v1", [type_ for type_ in types if not type_.group]))
        case ["apis"]:
            groups = sorted({type_.group for type_ in types if type_.group})
            bodies = [_group(group, types) for group in groups]
            return ok({"kind": "APIGroupList", "apiVersion": "v1", "groups": bodies})
        case ["apis", group] if any(type_.group == group for type_ in types):
            return ok({"kind": "APIGroup", "apiVersion": "v1", **_group(group, types)})
        case ["apis", group, version]:
            found = [type_ for type_ in types if type_.group == group and version in type_.versions]
            return ok(_resources(f"{group}/{version}", found)) if found else None
    return None


def _group(group: str, types: list[ResourceType]) -> Body:
    of_group = (type_.versions for type_ in types if type_.group == group)
    versions = list(dict.fromkeys(version for served in of_group for version in served))
    named = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": named, "preferredVersion": named[0]}


def _resources(group_version: str, types: list[ResourceType]) -> Body:
    bodies = []
    for type_ in types:
        body = {
            "name": type_.plural,
            "singularName": type_.kind.lower(),
            "namespaced": type_.namespaced,
            "kind": type_.kind,
            "verbs": _VERBS,
        }
        bodies.append(body)
        if type_.status:
            verbs = ["get", "patch", "update"]
            bodies.append({**body, "name": f"{type_.plural}/status", "verbs": verbs})
    return {
        "kind": "APIResourceList",
        **({} if group_version == "v1" else {"apiVersion": "v1"}),
        "groupVersion": group_version,
        "resources": bodies,
    }
