"""Forwarding paths: which of them work on this node, and which one a Service port takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from edgemesh.model.policies import Path


class AvailablePaths(NamedTuple):
    """What this node's kernel can do, as its self-test found it: "" when it works, else why not.

    Args:
        connect: balancing of calls when they connect.
        sockmap: small messages from socket to socket in the kernel.
        splice: large transfers through pipes.
        observed: counting of requests while small messages are moved.
        failures: seeing how connections fare that were balanced when they connected, which
            breakers go by.
        by_bus: nodes whose endpoints are reached by the bus, for which only the agent can see to.
    """

    connect: str
    sockmap: str
    splice: str
    failures: str = ""
    observed: str = ""
    by_bus: frozenset[str] = frozenset()


_UNKNOWN = "not looked at yet"
NOT_LOOKED_AT = AvailablePaths(_UNKNOWN, _UNKNOWN, _UNKNOWN)
ALL_PATHS = AvailablePaths("", "", "")


class PathChoice(NamedTuple):
    """What calls of a Service port take at best, and why, in words for people."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class PathStatus:
    """The path of one Service port.

    Args:
        namespace, service, port, transport: the Service port.
        path: that its calls take at best, "" when none of them passes the agent.
        reason: why this one.
    """

    namespace: str
    service: str
    port: int
    transport: str
    path: str
    reason: str
