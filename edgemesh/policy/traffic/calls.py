"""What is told about one call: before it, how to choose for it; after it, how it went."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Call(NamedTuple):
    """What choosing an endpoint needs of one call.

    Args:
        client: the caller's address, without its port.
        ipv6: the address family that the Service was called in.
        hash_text: the value that the policy's hash key names, None when the call has none.
    """

    client: str
    ipv6: bool
    hash_text: str | None


class Outcome(IntEnum):
    """How a call ended, as far as its endpoint is to blame."""

    SUCCESS = 0
    SERVER_ERROR = 1  # 5xx but those of GATEWAY_ERROR
    GATEWAY_ERROR = 2  # 502, 503, 504
    CONNECT_FAILED = 3
    RESET = 4
    TIMEOUT = 5
    CANCELLED = 6  # by the client: counts neither way
