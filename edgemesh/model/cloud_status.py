"""What ``edgemesh cloud`` tells about itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgemesh.model.kubernetes_status import KubernetesStatus
from edgemesh.model.status import StoreStatus


@dataclass(frozen=True, slots=True)
class ConnectedNode:
    """A node that is connected to this replica.

    Args:
        node: its name.
        kind: ``edgemesh`` or ``KubeEdge``.
        address: where it is seen from.
        since: seconds since 1970.
        revision: of the store, that it has been sent.
        waiting: Messages that it has not acknowledged, or not been sent yet.
        replica: that it is connected to.
    """

    node: str
    kind: str
    address: str
    since: float
    revision: int
    waiting: int
    replica: str = ""


@dataclass(frozen=True, slots=True)
class CloudStatus:
    """The whole of it.

    Args:
        name: of this replica.
        version: of edgemesh.
        pid: of its process.
        uptime_seconds: since it started.
        listeners: addresses by what is served there.
        store: where objects are.
        nodes: that are connected.
        refused: counts by reason.
        memory_bytes: resident.
        replicas: all of them, this one included.
        problems: what does not work as it should.
        kubernetes: the API server that is followed, None where none is configured.
    """

    name: str
    version: str
    pid: int
    uptime_seconds: float
    listeners: dict[str, tuple[str, ...]]
    store: StoreStatus
    nodes: tuple[ConnectedNode, ...]
    refused: dict[str, int]
    memory_bytes: int
    replicas: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=())
    kubernetes: KubernetesStatus | None = None
