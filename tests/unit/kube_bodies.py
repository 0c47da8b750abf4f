"""Bodies of Kubernetes objects, valid as they come, for tests to bend."""

from __future__ import annotations

from typing import Any

from edgemesh.model.objects import Change, ChangeType, KubeObject, ObjectKey

Body = dict[str, Any]


def service(name: str = "web", namespace: str = "default", **spec: Any) -> Body:
    """A Service on port 80 with a ClusterIP."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": "10.96.0.10", "ports": [{"port": 80}], **spec},
    }


def pod(
    name: str = "web-1",
    address: str = "10.244.0.5",
    *,
    namespace: str = "default",
    ready: bool = True,
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> Body:
    """A Pod with the label ``app: web`` and one address."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "labels": {"app": "web"} if labels is None else labels,
        },
        "spec": {"nodeName": "edge-1", **spec},
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


def endpoint(address: str, *, pod_name: str = "", **fields: Any) -> Body:
    """An endpoint of a slice, ready."""
    reference = {"kind": "Pod", "namespace": "default", "name": pod_name}
    target = {"targetRef": reference} if pod_name else {}
    return {"addresses": [address], "conditions": {"ready": True}, **target, **fields}


def endpoint_slice(
    *endpoints: Body,
    name: str = "web-abcde",
    service_name: str = "web",
    namespace: str = "default",
    port: int = 8080,
    port_name: str = "",
    manager: str = "endpointslice-controller.k8s.io",
    family: str = "IPv4",
) -> Body:
    """A slice of the Service ``web``."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {
                "kubernetes.io/service-name": service_name,
                "endpointslice.kubernetes.io/managed-by": manager,
            },
        },
        "addressType": family,
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }


def endpoints_object(*addresses: str, name: str = "web", not_ready: tuple[str, ...] = ()) -> Body:
    """An Endpoints object with one subset on port 8080."""
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": name, "namespace": "default"},
        "subsets": [
            {
                "addresses": [{"ip": address} for address in addresses],
                "notReadyAddresses": [{"ip": address} for address in not_ready],
                "ports": [{"port": 8080}],
            }
        ],
    }


def destination_rule(name: str, host: str, simple: str = "RANDOM") -> Body:
    """A rule in the namespace ``default``."""
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "DestinationRule",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"host": host, "trafficPolicy": {"loadBalancer": {"simple": simple}}},
    }


def node(name: str, zone: str) -> Body:
    """A Node in a zone."""
    labels = {"topology.kubernetes.io/zone": zone}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def change(body: Body, kind: ChangeType = ChangeType.UPDATE) -> Change:
    """A change of the object with this body."""
    metadata = body["metadata"]
    key = ObjectKey(body["kind"], metadata.get("namespace", ""), metadata["name"])
    labels = metadata.get("labels", {})
    return Change(kind, KubeObject(key, metadata.get("uid", ""), 1, labels, body))
