"""What a running agent says about itself: the answers to ``null/status`` and ``null/breakers``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from edgemesh.model.edgehub_status import EdgehubStatus
from edgemesh.model.kubernetes_status import KubernetesStatus


@dataclass(frozen=True, slots=True)
class DiversionNeed:
    """What only the kernel's rules bring to the agent.

    Args:
        service_ports: with an address whose calls are not balanced when they connect.
        node_ports: of all Services.
        endpoints: of this node whose servers are limited.
        balanced: Service ports whose calls are all balanced when they connect.
    """

    service_ports: int = 0
    node_ports: int = 0
    endpoints: int = 0
    balanced: int = 0

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.service_ports or self.node_ports or self.endpoints)


@dataclass(frozen=True, slots=True)
class InterceptionStatus:
    """How calls come to the agent.

    ``backend``, ``mode``, ``family``, ``fail``, ``enabled`` and ``install`` are those of the
    settings; ``installed`` whether the rules stand; ``addresses`` how many (address, transport,
    port) they intercept for Services, ``endpoints`` how many because of what the server of an
    endpoint of this node lets through, and ``revision`` the one of the snapshot that wants these.
    Where rules are installed as needed, ``needed`` tells whether they are, and ``need`` for what.
    """

    backend: str
    mode: str
    family: str
    fail: str
    installed: bool
    addresses: int
    enabled: bool = True
    revision: int = 0
    endpoints: int = 0
    install: str = "always"
    needed: bool = True
    need: DiversionNeed = DiversionNeed()


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The metadata on disk: its URL without a password, its revision, its number of objects."""

    url: str
    revision: int
    objects: int


@dataclass(frozen=True, slots=True)
class SnapshotStatus:
    """What the data plane goes by: from which revision, and how much."""

    revision: int
    services: int
    endpoints: int


@dataclass(frozen=True, slots=True)
class FlowStatus:
    """Flows: open now by transport, ever begun, refused by reason, over by ending.

    With those refused are HTTP requests, too.
    """

    tcp_open: int
    udp_open: int
    total: int
    refused: Mapping[str, int] = field(default_factory=dict)
    by_ending: Mapping[str, int] = field(default_factory=dict)


class BreakerPhase(StrEnum):
    """Whether an endpoint takes calls, and who says so."""

    CLOSED = "closed"
    HALF_OPEN = "half-open"
    OPEN = "open"
    UNHEALTHY = "unhealthy"  # by active health checks


@dataclass(frozen=True, slots=True)
class ServicesQuestion:
    """Which Services a question is about: "" for all namespaces, none for all names.

    ``null/breakers`` and ``null/paths`` are such questions.
    """

    namespace: str = ""
    services: tuple[str, ...] = ()

    def is_about(self, namespace: str, service: str) -> bool:
        """Whether a Service is meant."""
        return (not self.namespace or namespace == self.namespace) and (
            not self.services or service in self.services
        )


@dataclass(frozen=True, slots=True)
class CallersQuestion:
    """``null/callers``: of the Pods of which namespace, "" for all."""

    namespace: str = ""


@dataclass(frozen=True, slots=True)
class CallerStatus:
    """A Pod with an address of its own.

    Args:
        namespace, pod: which.
        left_alone: why calls that it makes are not intercepted, "" when they are.
    """

    namespace: str
    pod: str
    left_alone: str = ""


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """One endpoint of a Service port that has a breaker or a health check.

    Args:
        namespace, service, port, transport: the Service port.
        endpoint: ``address:port``.
        pod: ``namespace/name``, "" when it is none.
        state: see there.
        reason: of the last ejection, "" when there was none.
        failures_in_row: since its last success.
        ejections: in a row.
        open_seconds: until trial requests may go there, 0 when it is not open.
        active: requests or connections that are open.
        calls, failures: that are over.
    """

    namespace: str
    service: str
    port: int
    transport: str
    endpoint: str
    pod: str
    state: BreakerPhase
    reason: str = ""
    failures_in_row: int = 0
    ejections: int = 0
    open_seconds: float = 0.0
    active: int = 0
    calls: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """One agent.

    Args:
        node: its node's name.
        version: of edgemesh.
        compiled: its data plane is machine code (scripts/compile).
        pid: its process.
        uptime_seconds: since it began to serve.
        listeners: ``address:port`` by what listens there: ``tcp``, ``udp``, ``dns``.
        interception, store, snapshot, flows: see there.
        paths: each forwarding path with ``available`` or why it is not.
        memory_bytes: resident.
        requests: HTTP requests that endpoints have answered, by class of the status.
        dns: questions of DNS, by what became of them.
        cloud: the connection to the cloud, None where none is configured.
        kubernetes: the API server that is followed, None where none is configured.
        problems: what an operator should look at, one sentence each; empty when all is well.
    """

    node: str
    version: str
    pid: int
    uptime_seconds: float
    listeners: Mapping[str, tuple[str, ...]]
    interception: InterceptionStatus
    store: StoreStatus
    snapshot: SnapshotStatus
    flows: FlowStatus
    paths: Mapping[str, str]
    memory_bytes: int
    problems: tuple[str, ...] = ()
    requests: Mapping[str, int] = field(default_factory=dict)
    dns: Mapping[str, int] = field(default_factory=dict)
    compiled: bool = False
    cloud: EdgehubStatus | None = None
    kubernetes: KubernetesStatus | None = None
