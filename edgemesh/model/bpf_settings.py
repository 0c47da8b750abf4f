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
        lease_seconds: how long calls are balanced by maps that no living agent has confirmed.
        backlog_bytes: that one direction of a flow may have under way in the kernel before its
            bytes pass through the agent.
    """

    enabled: bool = True
    directory: Path = Path("/sys/fs/bpf/edgemesh")
    cgroup: str = ""
    headers: str = ""
    lease_seconds: Seconds = 5.0
    backlog_bytes: Count = 262144
