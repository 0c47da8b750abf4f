"""Read a TLS ClientHello: server name, ALPN and offered versions.

The framing is that of RFC 8446 (sections 4 and 5.1), which earlier versions share; SNI is RFC
6066 section 3, ALPN RFC 7301 section 3.1, GREASE RFC 8701. Every length is checked against what
surrounds it, and every vector must be used up: what breaks a rule is no ClientHello. The SSLv2
hello (RFC 6101 appendix E) has another framing and is none either.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HANDSHAKE_RECORD = 22
# Record header and handshake type: bytes that fit so far are TLS and no accident.
SIGNATURE_BYTES = 6

_CLIENT_HELLO = 1
_MAX_FRAGMENT = 2**14
# legacy_version, random, empty session_id, one cipher suite, one compression method.
_SHORTEST_BODY = 2 + 32 + 1 + 4 + 2

_SERVER_NAME = 0
_ALPN = 16
_SUPPORTED_VERSIONS = 43
_HOST_NAME = 0
_NAME = re.compile(rb"[0-9A-Za-z._-]{1,255}")


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client says about itself before anything is encrypted.

    Args:
        server_name: in lower case, "" when it sent none.
        alpn: protocol identifiers in the client's order, GREASE left out.
        versions: offered, as on the wire (0x0304 is TLS 1.3), GREASE left out.
    """

    server_name: str = ""
    alpn: tuple[str, ...] = ()
    versions: tuple[int, ...] = ()


class NotClientHello(ValueError):  # noqa: N818 - no error: most connections are none
    """These bytes are not the start of a ClientHello and will not become it."""


def read_client_hello(data: bytes) -> ClientHello | None:
    """Read the ClientHello that a connection starts with; what follows it is not looked at.

    Args:
        data: the connection's first bytes, record layer included.

    Returns:
        The hello as soon as all of it is there; None while it may still become one.

    Raises:
        NotClientHello: the bytes break a rule that every ClientHello keeps.
    """
    body = _join_fragments(data)
    return None if body is None else _read_body(_Reader(body))


def _join_fragments(data: bytes) -> bytes | None:
    """The hello's body out of the records that it is spread over; None until it is whole."""
    message = bytearray()
    position = 0
    while position < len(data):
        header = data[position : position + 5]
        if not _may_be_record_header(header):
            raise NotClientHello
        if len(header) < 5:
            return None
        end = position + 5 + (header[3] << 8 | header[4])
        message += data[position + 5 : end]
        if message and message[0] != _CLIENT_HELLO:
            raise NotClientHello
        if len(message) >= 4:
            length = int.from_bytes(message[1:4])
            if length < _SHORTEST_BODY:
                raise NotClientHello
            if len(message) >= 4 + length:
                return bytes(message[4 : 4 + length])
        position = end
    return None


def _may_be_record_header(header: bytes) -> bool:
    """Judge as many of the header's five bytes as there are."""
    if header[0] != HANDSHAKE_RECORD:
        return False
    if len(header) > 1 and header[1] != 3:
        return False
    if len(header) > 2 and header[2] > 4:
        return False
    # Section 5.1: no empty handshake fragments, and none above 2^14.
    return len(header) < 5 or 0 < (header[3] << 8 | header[4]) <= _MAX_FRAGMENT


class _Reader:
    """Takes values off the front of a byte string and never goes beyond its end."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return self._position < len(self._data)

    def take(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._data):
            raise NotClientHello
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def integer(self, width: int) -> int:
        return int.from_bytes(self.take(width))

    def vector(self, width: int, at_least: int = 0) -> bytes:
        """A vector whose length stands in front of it in ``width`` bytes."""
        content = self.take(self.integer(width))
        if len(content) < at_least:
            raise NotClientHello
        return content


def _read_body(reader: _Reader) -> ClientHello:
    legacy_version = reader.integer(2)
    reader.take(32)
    if len(reader.vector(1)) > 32 or len(reader.vector(2, at_least=2)) % 2:
        raise NotClientHello
    reader.vector(1, at_least=1)
    extensions = _read_extensions(reader)
    versions = extensions.get(_SUPPORTED_VERSIONS)
    return ClientHello(
        server_name=_read_server_name(extensions.get(_SERVER_NAME)),
        alpn=_read_alpn(extensions.get(_ALPN)),
        versions=(legacy_version,) if versions is None else _read_versions(versions),
    )


def _read_extensions(reader: _Reader) -> dict[int, bytes]:
    """Extensions by type. Clients before TLS 1.3 may leave the whole block out."""
    found: dict[int, bytes] = {}
    if not reader:
        return found
    block = _Reader(reader.vector(2))
    if reader:
        raise NotClientHello
    while block:
        kind = block.integer(2)
        # Section 4.2: never two of one type. A second SNI would let two readers disagree.
        if kind in found:
            raise NotClientHello
        found[kind] = block.vector(2)
    return found


def _read_server_name(extension: bytes | None) -> str:
    if extension is None:
        return ""
    names = _Reader(_only_vector(extension))
    kinds: set[int] = set()
    server_name = ""
    while names:
        kind = names.integer(1)
        value = names.vector(2, at_least=1)
        if kind in kinds:
            raise NotClientHello
        kinds.add(kind)
        if kind == _HOST_NAME:
            if not _NAME.fullmatch(value):
                raise NotClientHello
            server_name = value.decode("ascii").lower()
    return server_name


def _read_alpn(extension: bytes | None) -> tuple[str, ...]:
    if extension is None:
        return ()
    names = _Reader(_only_vector(extension))
    protocols = []
    while names:
        protocol = names.vector(1, at_least=1)
        if not _is_grease(protocol):
            protocols.append(protocol.decode("latin-1"))
    return tuple(protocols)


def _read_versions(extension: bytes) -> tuple[int, ...]:
    reader = _Reader(extension)
    listed = _Reader(reader.vector(1, at_least=2))
    if reader:
        raise NotClientHello
    versions = []
    while listed:
        version = listed.take(2)
        if not _is_grease(version):
            versions.append(int.from_bytes(version))
    return tuple(versions)


def _only_vector(extension: bytes) -> bytes:
    """The non-empty list that must be all of the extension."""
    reader = _Reader(extension)
    content = reader.vector(2, at_least=1)
    if reader:
        raise NotClientHello
    return content


def _is_grease(value: bytes) -> bool:
    """RFC 8701: 0x0a0a, 0x1a1a, ..., 0xfafa mean nothing and may stand anywhere."""
    return len(value) == 2 and value[0] == value[1] and value[0] & 0x0F == 0x0A
