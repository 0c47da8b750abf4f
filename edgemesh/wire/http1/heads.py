"""Heads of requests and responses, as values.

Heads are kept and handed out again when the same bytes come, so one object serves many
requests: nobody may change it (mypy holds that; a frozen dataclass would, at six times the cost
of making one). They compare by identity, so that they can be keys for what depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

# What malformed messages are answered with (RFC 9110 section 15, RFC 6585 section 5).
BAD_REQUEST: Final = 400
URI_TOO_LONG: Final = 414
EXPECTATION_FAILED: Final = 417
FIELDS_TOO_LARGE: Final = 431
NOT_IMPLEMENTED: Final = 501
BAD_GATEWAY: Final = 502
VERSION_NOT_SUPPORTED: Final = 505


class Framing(Enum):
    """How the end of a body is known (RFC 9112 section 6.3)."""

    NONE = "none"  # there is no body; also with a length of 0
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until_close"  # responses only
    TUNNEL = "tunnel"  # after 101 the connection speaks another protocol


class MalformedHead(ValueError):  # noqa: N818 - a finding about the peer, not a failure of ours
    """A head that is refused; the connection is closed, for nobody knows where it goes on.

    Args:
        status: to answer a client with; 502 when an endpoint sent the head.
        reason: for people, e.g. ``bare-lf``.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class MalformedBody(ValueError):  # noqa: N818 - as above
    """A chunked body that is refused; ``reason`` is for people, e.g. ``chunk-size``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True, eq=False)
class RequestHead:
    """The head of a request.

    Args:
        raw: as it came, with the empty line that ends it.
        size: how many bytes of the buffer it took: those of ``raw`` and of an empty line before.
        method: case matters.
        target: as it came; in origin form, or ``*``.
        path, query: the target without and behind its question mark.
        minor: 0 or 1, of HTTP/1.
        host: in lower case, without port and brackets; "" when there is none.
        headers: names in lower case, values without the blanks around them, as latin-1.
        values: the same by name; repeated fields are joined (RFC 9110 section 5.3).
        framing: of the body.
        content_length: 0 unless framing is LENGTH.
        keep_alive: the client will send further requests on this connection.
        expects_continue: the client waits for 100 before it sends the body.
        upgrade: value of Upgrade if the client asks for one, else "". ``h2c`` is never told: it
            would lead requests past every policy.
        raw_is_forwardable: nothing has to be taken out or respelled for the next hop.
        forwarded: ``raw``, or what becomes of it when that is done.
        idempotent: the method is (RFC 9110 section 9.2.2).
    """

    raw: Final[bytes]
    size: Final[int]
    method: Final[str]
    target: Final[str]
    path: Final[str]
    query: Final[str]
    minor: Final[int]
    host: Final[str]
    headers: Final[tuple[tuple[str, str], ...]]
    values: Final[Mapping[str, str]]
    framing: Final[Framing]
    content_length: Final[int]
    keep_alive: Final[bool]
    expects_continue: Final[bool]
    upgrade: Final[str]
    raw_is_forwardable: Final[bool]
    forwarded: Final[bytes]
    idempotent: Final[bool]

    def value(self, name: str) -> str | None:
        """The value of a field, by its name in lower case; None when there is no such field."""
        return self.values.get(name)


@dataclass(slots=True, eq=False)
class ResponseHead:
    """The head of a response.

    Args:
        raw: as it came, with the empty line that ends it.
        size: bytes of the buffer that it took.
        minor: 0 or 1, of HTTP/1.
        status: 100 to 999.
        reason: "" when there is none.
        headers, values: as in RequestHead.
        framing: of the body, if the request was not HEAD.
        content_length: as announced, also where there is no body (304, HEAD).
        keep_alive: the endpoint will take further requests on this connection, provided that
            the body's end is not the connection's.
        interim: another response follows (1xx, but for 101).
        upgrade: value of Upgrade in a 101 or 426, else "".
        raw_is_forwardable, forwarded: as in RequestHead.
    """

    raw: Final[bytes]
    size: Final[int]
    minor: Final[int]
    status: Final[int]
    reason: Final[str]
    headers: Final[tuple[tuple[str, str], ...]]
    values: Final[Mapping[str, str]]
    framing: Final[Framing]
    content_length: Final[int]
    keep_alive: Final[bool]
    interim: Final[bool]
    upgrade: Final[str]
    raw_is_forwardable: Final[bool]
    forwarded: Final[bytes]

    def value(self, name: str) -> str | None:
        """The value of a field, by its name in lower case; None when there is no such field."""
        return self.values.get(name)

    def framing_for(self, method: str) -> Framing:
        """How the body ends in an answer to such a request (RFC 9112 section 6.3, rule 1)."""
        return Framing.NONE if method == "HEAD" and self.status != 101 else self.framing
