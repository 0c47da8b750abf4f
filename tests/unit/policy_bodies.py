"""Bodies of policy objects, and how they are read, for tests."""

from __future__ import annotations

from typing import Any, TypeVar

from kube_bodies import Body

from edgemesh.model.services import Service, ServicePort, Transport
from edgemesh.policy.objects.backends import Neighbours
from edgemesh.wire.kubernetes import examine
from edgemesh.wire.kubernetes.tolerant import PolicyObject

ObjectT = TypeVar("ObjectT", bound=PolicyObject)


def traffic_policy(name: str = "web", created: str = "", **spec: Any) -> Body:
    """A TrafficPolicy for the Service ``web``, unless ``targetRef`` says otherwise."""
    return {
        "apiVersion": "policy.edgemesh.io/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": created},
        "spec": {"targetRef": {"kind": "Service", "name": "web"}, **spec},
    }


def read(view: type[ObjectT], body: Body) -> ObjectT:
    """The view of an object in which nothing is wrong."""
    found, problems = examine(body)
    assert problems == ()
    assert isinstance(found, view)
    return found


def problems_of(body: Body) -> list[str]:
    """What is passed over in an object, as people read it."""
    return [str(problem) for problem in examine(body).problems]


def http_route(*rules: Body, name: str = "web", created: str = "", **spec: Any) -> Body:
    """An HTTPRoute of the Service ``web``, unless ``parentRefs`` says otherwise."""
    parents = [{"group": "", "kind": "Service", "name": "web"}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": created},
        "spec": {"parentRefs": parents, "rules": list(rules), **spec},
    }


def reference_grant(to_name: str = "", namespace: str = "other", **source: str) -> Body:
    """A ReferenceGrant for HTTPRoutes of the namespace ``default``."""
    target = {"group": "", "kind": "Service", **({"name": to_name} if to_name else {})}
    group = "gateway.networking.k8s.io"
    return {
        "apiVersion": f"{group}/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "grant", "namespace": namespace},
        "spec": {
            "from": [{"group": group, "kind": "HTTPRoute", "namespace": "default", **source}],
            "to": [target],
        },
    }


def connection_route(kind: str, *rules: Body, name: str = "web", **spec: Any) -> Body:
    """A TLSRoute or TCPRoute of the Service ``web``, unless ``parentRefs`` says otherwise."""
    return {
        **http_route(*rules, name=name, **spec),
        "apiVersion": "gateway.networking.k8s.io/v1alpha2",
        "kind": kind,
    }


def backend(name: str, port: int = 80, **fields: Any) -> Body:
    """A ``backendRefs`` entry."""
    return {"name": name, "port": port, **fields}


def virtual_service(*http: Body, name: str = "web", created: str = "", **spec: Any) -> Body:
    """A VirtualService for the host ``web``, unless ``hosts`` says otherwise."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": created},
        "spec": {"hosts": ["web"], "http": list(http), **spec},
    }


def to(host: str, **fields: Any) -> Body:
    """A ``route`` entry."""
    return {"destination": {"host": host}, **fields}


class Shop:
    """Services that routes may lead to; ``web`` has two ports, ``v2`` the subset ``blue``."""

    def __init__(self) -> None:
        self.web = ServicePort("default", "web", "http", Transport.TCP, 80)
        self.admin = ServicePort("default", "web", "admin", Transport.TCP, 81)
        ports = {
            "web": (self.web, self.admin),
            "v1": (ServicePort("default", "v1", "http", Transport.TCP, 8080),),
            "v2": (ServicePort("default", "v2", "http", Transport.TCP, 80),),
            "dns": (ServicePort("default", "dns", "dns", Transport.UDP, 53),),
        }
        services = {
            ("default", name): Service("default", name, ports=ports[name]) for name in ports
        }
        self.neighbours = Neighbours(
            services.get, lambda name: ("blue",) if name == ("default", "v2") else ()
        )
