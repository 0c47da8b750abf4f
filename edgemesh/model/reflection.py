"""What is followed of a Kubernetes API server, and how far that has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple


class Resource(NamedTuple):
    """Objects of one kind at an API server, or those of them that selectors choose.

    Args:
        kind: ``Service``.
        path: under which all of them are listed, ``/api/v1/services`` or
            ``/apis/discovery.k8s.io/v1/endpointslices``.
        namespaced: whether objects live in a namespace.
        field_selector: ``spec.nodeName=edge-1``, comparisons for equality joined by commas; "" for
            all.
        label_selector: as the API server reads it, "" for all.
    """

    kind: str
    path: str
    namespaced: bool = True
    field_selector: str = ""
    label_selector: str = ""

    @property
    def api_version(self) -> str:
        """Of its objects, ``discovery.k8s.io/v1``; read off the path."""
        return self.path.removeprefix("/apis/").removeprefix("/api/").rpartition("/")[0]


class Name(NamedTuple):
    """What names an object among those of its kind; namespace "" where the kind has none."""

    namespace: str
    name: str


class Change(NamedTuple):
    """What has become of one object.

    Args:
        deleted: whether it is gone; the body is then the last that is known of it.
        body: the whole object, with its ``kind`` and ``apiVersion``.
    """

    deleted: bool
    body: Mapping[str, Any]


class Phase(StrEnum):
    """What a reflector is at."""

    LISTING = "listing"
    FOLLOWING = "following"
    # The server cannot be reached, or does not answer as it should.
    FAILING = "failing"
    # The server has no such resource.
    MISSING = "missing"
    # MetaServer has lost its cloud, or never had this resource: it does not tell which.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ReflectorState:
    """How far a resource is followed.

    Args:
        resource: which.
        phase: what is being done, or waited for.
        revision: the ``resourceVersion`` up to which changes were handed on, "" before.
        objects: how many there are.
        lists: complete lists so far.
        changes: objects handed on so far.
        restarts: times that the server was asked anew because something failed.
        problem: the last that failed, for an operator; "" when nothing does.
        since: when ``phase`` became what it is, on trio's clock.
    """

    resource: Resource
    phase: Phase
    revision: str
    objects: int
    lists: int
    changes: int
    restarts: int
    problem: str
    since: float

    @property
    def synced(self) -> bool:
        """Whether the sink has what the server has, as far as can be known."""
        return self.phase is Phase.FOLLOWING
