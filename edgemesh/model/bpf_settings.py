"""The settings of what runs in the kernel: BPF programs and the flows they are given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True)
class BpfSettings:
    """BPF.

    Args:
        enabled: whether the agent uses BPF where it works; without it everything is relayed.
        directory: where programs, links and maps are pinned, in a BPF file system.
        cgroup: the cgroup v2 directory whose processes are balanced when they connect; "" for
            the root of the hierarchy, which is all of the host.
        headers: a tree of kernel headers to compile with; "" to look for one.
        build_seconds: that compiling and loading may take; it takes three on a busy machine of two
            cores, and the smallest node is ten times slower.
        self_test_seconds: that trying what was loaded may take, each step of it a fifteenth; what
            has not answered by then is not used.
        lease_seconds: how long calls are balanced by maps that no living agent has confirmed.
        backlog_bytes: that one direction of a flow may have under way in the kernel before its
            bytes pass through the agent; each packet counts 4 KiB besides.
        gate_flows: that the kernel moves at a time; others are relayed.
        observed_ports: Service ports whose requests are counted by the gate; others are seen by the
            agent.
        observed_endpoints: of all of them together.
        observed_steps: that reading the heads in one packet may take, a step for each byte of
            what matters, and for eight of what does not; 1 KiB takes some 200.
        connect_addresses: of Service ports that are balanced when they are called.
        connect_endpoints: of all those Service ports together, a change being under way; each
            address family counts.
        connect_sockets: that are connected to Services at a time; of more, getpeername() tells the
            endpoint's address, and they are not counted.
        connect_callers: callers of Services with affinity, one for each Service port and network
            namespace; the one that called longest ago gives way.
        connect_namespaces: of Pods whose calls are treated otherwise than those of others
            (``proxy.intercept_default``).
        connect_events: failures that may wait for the agent; more are counted but not told.
        abandoned_seconds: a connection that its caller gave up is the endpoint's failure when
            it had not answered for so long.
        conversations: of unconnected UDP sockets with Service ports; the oldest gives way.
        conversation_idle_seconds: silence after which a socket's next datagram may go to another
            endpoint.
    """

    enabled: bool = True
    directory: Path = Path("/sys/fs/bpf/edgemesh")
    cgroup: str = ""
    headers: str = ""
    build_seconds: Seconds = 120.0
    self_test_seconds: Seconds = 30.0
    lease_seconds: Seconds = 5.0
    backlog_bytes: Count = 262144
    gate_flows: Count = 8192
    observed_ports: Count = 1024
    observed_endpoints: Count = 4096
    observed_steps: Count = 384
    connect_addresses: Count = 65536
    connect_endpoints: Count = 262144
    connect_sockets: Count = 65536
    connect_callers: Count = 16384
    connect_namespaces: Count = 4096
    connect_events: Count = 8192
    abandoned_seconds: Seconds = 1.0
    conversations: Count = 16384
    conversation_idle_seconds: Seconds = 30.0
