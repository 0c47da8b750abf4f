"""Answers that fail, and what the headers of an answer tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from edgemesh.wire.kubernetes_api.objects import UNREADABLE

_PLAIN_SHOWN = 200
# An API server puts these on its answers; MetaServer passes none of them on (captures, table).
_SERVERS_OWN = ("audit-id", "x-kubernetes-pf-flowschema-uid")


class Failure(NamedTuple):
    """What a server refuses, or fails to do.

    Args:
        code: as in HTTP; inside a watch, of the Status alone.
        reason: Kubernetes' word for it, ``Expired``; "" when it gives none.
        message: for people.
    """

    code: int
    reason: str
    message: str

    def __str__(self) -> str:
        """``410 Expired: too old resource version``, for messages to people."""
        return f"{self.code} {self.reason}".rstrip() + f": {self.message}"


class _Status(msgspec.Struct):
    kind: str
    code: int = 0
    reason: str = ""
    message: str = ""


def read_status(data: bytes, code: int) -> Failure:
    """Read the body of an answer that failed; nothing of it is taken for granted.

    Args:
        data: a Status, or plain text as for a path that is not served.
        code: of HTTP, which holds whatever the Status says; 0 where there is none.
    """
    try:
        status = msgspec.json.decode(data, type=_Status)
    except UNREADABLE:
        text = " ".join(data[:_PLAIN_SHOWN].decode(errors="replace").split())
        return Failure(code, "", text or "no reason given")
    return Failure(code or status.code, status.reason, status.message or "no reason given")


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the server asks to be left alone for (RFC 9110 section 10.2.3), 0 for none.

    Kubernetes writes whole seconds; a date, which would need a clock in step, counts as none.

    Args:
        headers: names in lower case.
    """
    value = headers.get("retry-after", "").strip()
    return float(value) if value.isascii() and value.isdecimal() and len(value) < 9 else 0.0


def is_api_server(headers: Mapping[str, str]) -> bool:
    """Whether an answer comes from an API server itself, not through KubeEdge's MetaServer.

    Args:
        headers: names in lower case.
    """
    return any(name in headers for name in _SERVERS_OWN)
