"""Services as Kubernetes objects, for an agent to be given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from bench.topology import Service

# As libyaml writes it: a hundred times as many objects a second as the dumper in Python.
_DUMPER = yaml.CSafeDumper


def objects(services: Iterable[Service], node: str = "") -> list[dict[str, Any]]:
    """A Service and an EndpointSlice for each; endpoints run on a node that has a name."""
    return [
        body for service in services for body in (_service(service), endpoint_slice(service, node))
    ]


def endpoint_slice(service: Service, node: str = "") -> dict[str, Any]:
    """The endpoints of a Service, all ready; they share the port of the first."""
    port = service.endpoints[0].port if service.endpoints else service.address.port
    where = {"nodeName": node} if node else {}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service.name}-1",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": service.name},
        },
        "addressType": "IPv4",
        "ports": [{"name": service.protocol, "port": port, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": [endpoint.host], "conditions": {"ready": True}, **where}
            for endpoint in service.endpoints
        ],
    }


def traffic_policy(service: Service, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A TrafficPolicy for all ports of a Service; its target is filled in."""
    return {
        "apiVersion": "policy.edgemesh.io/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": service.name, "namespace": "default"},
        "spec": {"targetRef": {"kind": "Service", "name": service.name}, **spec},
    }


def write(path: Path, documents: Sequence[dict[str, Any]]) -> None:
    """Write objects as a YAML stream."""
    with path.open("w") as file:
        yaml.dump_all(documents, file, Dumper=_DUMPER, sort_keys=False)


def _service(service: Service) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": service.name, "namespace": "default"},
        "spec": {
            "clusterIP": service.address.host,
            "clusterIPs": [service.address.host],
            "ports": [{"name": service.protocol, "port": service.address.port, "protocol": "TCP"}],
        },
    }
