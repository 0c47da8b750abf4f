"""Requests' heads, responses' heads and trailers, validated (RFC 9113 section 8)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgemesh.wire.http2.block import Block
from edgemesh.wire.http2.codes import ErrorCode, StreamFault
from edgemesh.wire.http2.field_rules import Malformed, content_length, read_fields
from edgemesh.wire.http2.grpc_fields import (
    is_grpc,
    read_status,
    read_timeout,
)
from edgemesh.wire.http2.hpack_encoder import encode_block, encode_field
from edgemesh.wire.http2.hpack_table import Field

Headers = tuple[tuple[str, str], ...]

_REQUEST_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})
_RESPONSE_PSEUDO = frozenset({b":status"})
_NO_PSEUDO: frozenset[bytes] = frozenset()

_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+\-.]*")
# Section 8.3.1: no userinfo; RFC 3986 section 3.2.2 for the rest, and a port.
_AUTHORITY = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]+)(?::[0-9]*)?")
# RFC 3986 section 3.3, tolerant of what is sent in practice, but not of spaces and fragments.
_PATH = re.compile(rb"/[\x21\x22\x24-\x7e\x80-\xff]*")
_STATUS = re.compile(rb"[1-9][0-9][0-9]")
_SWITCHING_PROTOCOLS = 101
_FIRST_FINAL_STATUS = 200


class Unacceptable(StreamFault):
    """A request that is answered with a status of its own, and not looked at further."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(ErrorCode.NO_ERROR, reason)
        self.status = status


class _Message:
    """A header list, as it came and as it is passed on."""

    __slots__ = ("_values", "block", "fields")

    def __init__(self, fields: Sequence[Field], block: Block) -> None:
        self.fields = fields
        self.block = block
        self._values: dict[str, str] | None = None

    @property
    def headers(self) -> Headers:
        """The fields that are no pseudo-header fields, in order."""
        return tuple(
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self.fields
            if name[:1] != b":"
        )

    def value(self, name: str) -> str | None:
        """The value of a field, by its name in lower case; None when it was not sent.

        Those of a field that came several times are joined, as RFC 9110 section 5.2 has it,
        cookies as RFC 9113 section 8.2.3.
        """
        if self._values is None:
            self._values = {}
            for key, value in self.headers:
                before = self._values.get(key)
                separator = "; " if key == "cookie" else ", "
                self._values[key] = value if before is None else before + separator + value
        return self._values.get(name)


class RequestHead(_Message):
    """What a request asks for.

    Attributes:
        method, scheme, authority: as they came; the authority may be that of ``host``.
        host: the authority without its port, in lower case.
        target: path and query, as they were sent.
        path, query: up to ``?``, and after it.
        content_length: -1 when it is not declared.
        is_grpc: its content-type says so.
        grpc_timeout: seconds that its caller waits for the response, None for ever.
    """

    __slots__ = (
        "authority",
        "content_length",
        "grpc_timeout",
        "host",
        "is_grpc",
        "method",
        "path",
        "query",
        "scheme",
        "target",
    )

    def __init__(self, fields: Sequence[Field]) -> None:
        """Validate a request.

        Raises:
            Malformed: it breaks a rule.
            Unacceptable: it asks for a tunnel.
        """
        found = read_fields(fields, _REQUEST_PSEUDO)
        pseudo, noted = found.pseudo, found.noted
        method = pseudo.get(b":method", b"")
        if not _METHOD.fullmatch(method):
            raise Malformed("no :method, or not a valid one")
        if method == b"CONNECT":
            raise Unacceptable(501, "CONNECT is not offered")
        if not _SCHEME.fullmatch(pseudo.get(b":scheme", b"")):
            raise Malformed("no :scheme, or not a valid one")
        path = pseudo.get(b":path", b"")
        if not _PATH.fullmatch(path) and not (path == b"*" and method == b"OPTIONS"):
            raise Malformed("no :path, or not a valid one")
        authority = pseudo.get(b":authority")
        host = noted.get(b"host")
        if authority is None:
            # Section 8.3.1: whoever passes a request on names its authority.
            authority = host or b""
            found.encoded.insert(0, encode_field((b":authority", authority)))
        elif host is not None and host.lower() != authority.lower():
            raise Malformed("host and :authority differ")
        if not _AUTHORITY.fullmatch(authority):
            raise Malformed("no :authority, or not a valid one")
        super().__init__(fields, Block(b"".join(found.encoded)))
        self.method = method.decode()
        self.scheme = pseudo[b":scheme"].decode()
        self.authority = authority.decode()
        self.host = self.authority.rpartition(":")[0] if _has_port(authority) else self.authority
        self.host = self.host.lower()
        self.target = path.decode("latin-1")
        self.path, _, self.query = self.target.partition("?")
        self.content_length = content_length(noted)
        self.is_grpc = is_grpc(noted.get(b"content-type", b""))
        self.grpc_timeout = read_timeout(noted.get(b"grpc-timeout", b""))


class ResponseHead(_Message):
    """What a response begins with.

    Attributes:
        status: 100 to 999.
        is_interim: another head follows.
        content_length: -1 when it is not declared.
        grpc_status: of a gRPC response that is all head, None for others.
    """

    __slots__ = ("content_length", "grpc_status", "is_interim", "status")

    def __init__(self, fields: Sequence[Field]) -> None:
        """Validate a response.

        Raises:
            Malformed: it breaks a rule.
        """
        found = read_fields(fields, _RESPONSE_PSEUDO)
        status = found.pseudo.get(b":status", b"")
        if not _STATUS.fullmatch(status):
            raise Malformed("no :status, or not a valid one")
        self.status = int(status)
        self.is_interim = self.status < _FIRST_FINAL_STATUS
        if self.status == _SWITCHING_PROTOCOLS:
            # Section 8.6.
            raise Malformed("101 has no place in HTTP/2")
        super().__init__(fields, Block(b"".join(found.encoded)))
        self.content_length = content_length(found.noted)
        self.grpc_status = read_status(found.noted.get(b"grpc-status"))


class Trailers(_Message):
    """What may follow a body.

    Attributes:
        grpc_status: what became of a gRPC call, None when they do not tell.
    """

    __slots__ = ("grpc_status",)

    def __init__(self, fields: Sequence[Field]) -> None:
        """Validate trailers.

        Raises:
            Malformed: they break a rule.
        """
        found = read_fields(fields, _NO_PSEUDO)
        super().__init__(fields, Block(b"".join(found.encoded)))
        self.grpc_status = read_status(found.noted.get(b"grpc-status"))


def _has_port(authority: bytes) -> bool:
    return b":" in authority.rpartition(b"]")[2]


def is_authority(text: str) -> bool:
    """Whether a request may be for this host, with a port or without."""
    return text.isascii() and _AUTHORITY.fullmatch(text.encode()) is not None


def request_block(head: RequestHead, authority: str, target: str, headers: Headers) -> Block:
    """The block of a request with changes; what is never to be indexed stays so."""
    pseudo = [
        (b":method", head.method.encode()),
        (b":scheme", head.scheme.encode()),
        (b":authority", authority.encode("latin-1")),
        (b":path", target.encode("latin-1")),
    ]
    return Block(encode_block(pseudo) + _encode_headers(head, headers))


def response_block(status: int, headers: Headers, like: _Message | None = None) -> Block:
    """The block of a response with changes, or of one of our own."""
    return Block(encode_field((b":status", b"%d" % status)) + _encode_headers(like, headers))


def trailers_block(headers: Headers) -> Block:
    """The block of trailers of our own."""
    return Block(_encode_headers(None, headers))


def _encode_headers(like: _Message | None, headers: Headers) -> bytes:
    # Equality of tuples does not care for their class: those that came are used again.
    known = {item: item for item in like.fields} if like is not None else {}
    fields = (
        (name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers
    )
    return encode_block(known.get(item, item) for item in fields)
