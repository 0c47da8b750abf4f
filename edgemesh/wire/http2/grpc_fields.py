"""The fields of gRPC over HTTP/2 that a proxy reads (grpc/doc/PROTOCOL-HTTP2.md)."""

from __future__ import annotations

import re
from typing import Final

CANCELLED: Final = 1
UNKNOWN: Final = 2
DEADLINE_EXCEEDED: Final = 4
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14

_CONTENT_TYPE = re.compile(rb"application/grpc(?:[+;].*)?", re.IGNORECASE)
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNIT_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_STATUS = re.compile(rb"[0-9]{1,3}")


def is_grpc(content_type: bytes) -> bool:
    """Whether a content-type is one of gRPC's; gRPC-Web is not."""
    return _CONTENT_TYPE.fullmatch(content_type) is not None


def read_timeout(text: bytes) -> float | None:
    """``grpc-timeout`` in seconds; None when there is none, or none that can be read."""
    found = _TIMEOUT.fullmatch(text)
    return int(found[1]) * _UNIT_SECONDS[found[2]] if found else None


def read_status(text: bytes | None) -> int | None:
    """``grpc-status``; None when there is none, `UNKNOWN` when it cannot be read."""
    if text is None:
        return None
    return int(text) if _STATUS.fullmatch(text) else UNKNOWN


def percent_encode(message: str) -> str:
    """``grpc-message``: UTF-8, with what is not printable ASCII percent-encoded."""
    return "".join(
        chr(octet) if 0x20 <= octet <= 0x7E and octet != 0x25 else f"%{octet:02X}"
        for octet in message.encode()
    )
