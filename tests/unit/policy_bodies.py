"""Bodies of policy objects, and how they are read, for tests."""

from __future__ import annotations

from typing import Any, TypeVar

from kube_bodies import Body

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
