"""What a running agent says about itself: the answer to the query ``null/status``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class InterceptionStatus:
    """How calls come to the agent.

    ``backend``, ``mode``, ``family``, ``fail`` and ``enabled`` are those of the settings;
    ``installed`` whether the rules stand; ``addresses`` how many (address, transport, port)
    they intercept, and ``revision`` the one of the snapshot that wants these.
    """

    backend: str
    mode: str
    family: str
    fail: str
    installed: bool
    addresses: int
    enabled: bool = True
    revision: int = 0


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
    """Flows: open now by transport, ever begun, refused by reason, over by ending."""

    tcp_open: int
    udp_open: int
    total: int
    refused: Mapping[str, int] = field(default_factory=dict)
    by_ending: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """One agent.

    Args:
        node: its node's name.
        version: of edgemesh.
        pid: its process.
        uptime_seconds: since it began to serve.
        listeners: ``address:port`` by what listens there: ``tcp``, ``udp``, ``dns``.
        interception, store, snapshot, flows: see there.
        paths: each forwarding path with ``available`` or why it is not.
        memory_bytes: resident.
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
