"""Service ports as they are balanced in the kernel, when a socket connects or sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from edgemesh.model.flows import Refusal
from edgemesh.model.services import ServiceAddress


class ConnectEndpoint(NamedTuple):
    """One endpoint of one Service port.

    Args:
        id: of this endpoint for this port, 1 to 2**32 - 1; nothing else has it.
        address, port: where it is.
        share: of the calls, against those of the others; above 0.
    """

    id: int
    address: str
    port: int
    share: float


@dataclass(frozen=True, slots=True)
class ConnectPort:
    """One Service port.

    Args:
        id: 1 to 2**32 - 1; no other port has it.
        addresses: where it is called; an address has endpoints of its own family or is not here.
        four: endpoints of calls in IPv4, all of them IPv4.
        six: endpoints of calls in IPv6, all of them IPv6.
        even: they take turns exactly; their shares are the same.
        affinity_seconds: calls of one network namespace go where its last one went, if that was
            no longer ago; 0 for no affinity.
        rate, burst: connections a second, and at once; 0 for no quota.
        max_connections: open at a time; 0 for no limit.
        refusal: of calls that there is no endpoint for; None when all have one.
    """

    id: int
    addresses: tuple[ServiceAddress, ...]
    four: tuple[ConnectEndpoint, ...] = ()
    six: tuple[ConnectEndpoint, ...] = ()
    even: bool = False
    affinity_seconds: int = 0
    rate: float = 0.0
    burst: int = 0
    max_connections: int = 0
    refusal: Refusal | None = None
