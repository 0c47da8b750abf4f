"""What the API server fills in when objects are written."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from apiserver.resources import Body, Key, ResourceType, Target

_SERVICE_NETWORK = "10.96"
# What only the API server sets.
_OWN_METADATA = ("uid", "creationTimestamp", "resourceVersion", "generation", "deletionTimestamp")


def created(type_: ResourceType, target: Target, body: Body, serial: int) -> Body:
    """A new object from what was posted.

    Args:
        serial: a number that no other object of this server has.
    """
    metadata = {
        name: value for name, value in body["metadata"].items() if name not in _OWN_METADATA
    }
    if not metadata.get("name"):
        metadata["name"] = f"{metadata['generateName']}{serial:05x}"
    if type_.namespaced:
        metadata["namespace"] = target.namespace
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if type_.counted:
        metadata["generation"] = 1
    new = as_kind(type_, target, {**body, "metadata": metadata})
    if type_.status and type_.custom:
        new.pop("status", None)
    return _filled(type_, new, serial)


def updated(type_: ResourceType, target: Target, before: Body, body: Body, serial: int) -> Body:
    """What is stored after a PUT, or a patch, of an object or of its status."""
    kept = {name: before["metadata"][name] for name in _OWN_METADATA if name in before["metadata"]}
    if target.subresource == "status":
        status = {"status": body["status"]} if "status" in body else {}
        rest = {name: value for name, value in before.items() if name != "status"}
        return {**rest, **status}
    metadata = {**body["metadata"], **kept, "name": target.name}
    if type_.namespaced:
        metadata["namespace"] = target.namespace
    new = as_kind(type_, target, {**body, "metadata": metadata})
    if type_.status:
        new = {name: value for name, value in new.items() if name != "status"}
        new |= {"status": before["status"]} if "status" in before else {}
    new = _filled(type_, new, serial)
    if type_.counted and _wishes(new) != _wishes(before):
        new["metadata"]["generation"] = int(before["metadata"].get("generation", 0)) + 1
    return new


def as_kind(type_: ResourceType, target: Target, body: Body) -> Body:
    """The object with the kind and version that it is asked for by, first as Go writes them."""
    rest = {name: value for name, value in body.items() if name not in {"kind", "apiVersion"}}
    return {"kind": type_.kind, "apiVersion": target.api_version, **rest}


def merged(before: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396) applied."""
    if not isinstance(patch, dict):
        return patch
    result = dict(before) if isinstance(before, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def key_of(type_: ResourceType, body: Mapping[str, Any]) -> Key:
    """Under what an object is stored."""
    metadata = body["metadata"]
    return (metadata.get("namespace") or "default") if type_.namespaced else "", metadata["name"]


def _filled(type_: ResourceType, new: Body, serial: int) -> Body:
    fill = _FILLED.get(type_.kind)
    return new if fill is None else fill(new, serial)


def _wishes(body: Body) -> Body:
    return {name: value for name, value in body.items() if name not in {"metadata", "status"}}


def _service(new: Body, serial: int) -> Body:
    spec = dict(new.get("spec") or {})
    if spec.get("type") == "ExternalName":
        filled = {"sessionAffinity": "None", **spec}
        return {**new, "spec": filled, "status": new.get("status") or {"loadBalancer": {}}}
    spec.setdefault("type", "ClusterIP")
    if not spec.get("clusterIP"):
        spec["clusterIP"] = f"{_SERVICE_NETWORK}.{serial // 250 % 250 + 2}.{serial % 250 + 1}"
    spec.setdefault("clusterIPs", [spec["clusterIP"]])
    spec["ports"] = [_port(port) for port in spec.get("ports") or []]
    spec.setdefault("sessionAffinity", "None")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    spec.setdefault("internalTrafficPolicy", "Cluster")
    return {**new, "spec": spec, "status": new.get("status") or {"loadBalancer": {}}}


def _port(port: Body) -> Body:
    return {"protocol": "TCP", "targetPort": port.get("port"), **port}


def _namespace(new: Body, _serial: int) -> Body:
    status = new.get("status") or {"phase": "Active"}
    return {**new, "spec": new.get("spec") or {"finalizers": ["kubernetes"]}, "status": status}


def _definition(new: Body, _serial: int) -> Body:
    """A CustomResourceDefinition is served at once here."""
    condition = {"type": "Established", "status": "True", "reason": "InitialNamesAccepted"}
    return {**new, "status": {"conditions": [condition]}}


_FILLED: Mapping[str, Callable[[Body, int], Body]] = {
    "Service": _service,
    "Namespace": _namespace,
    "CustomResourceDefinition": _definition,
}
