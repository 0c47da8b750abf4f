"""ClientHellos for tests: made by OpenSSL, or laid out byte by byte."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

RANDOM = bytes(range(32))
TLS_1_2, TLS_1_3 = 0x0303, 0x0304


@cache
def openssl_hello(
    server_name: str | None = None,
    alpn: tuple[str, ...] = (),
    highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> bytes:
    """The bytes that Python's ssl sends first, record layer included."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = server_name is not None
    context.verify_mode = ssl.CERT_REQUIRED if server_name else ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = highest
    if alpn:
        context.set_alpn_protocols(list(alpn))
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake cannot end without the server")


def vector(width: int, content: bytes) -> bytes:
    return len(content).to_bytes(width) + content


def sni(*names: tuple[int, bytes]) -> tuple[int, bytes]:
    return 0, vector(2, b"".join(bytes([kind]) + vector(2, name) for kind, name in names))


def alpn(*protocols: bytes) -> tuple[int, bytes]:
    return 16, vector(2, b"".join(vector(1, protocol) for protocol in protocols))


def supported_versions(*versions: int) -> tuple[int, bytes]:
    return 43, vector(1, b"".join(version.to_bytes(2) for version in versions))


def hello_body(
    extensions: Sequence[tuple[int, bytes]] | None = (),
    *,
    session: bytes = b"",
    suites: bytes = b"\x13\x01",
    compression: bytes = b"\0",
) -> bytes:
    """The inside of a ClientHello; None leaves the extension block out altogether."""
    body = TLS_1_2.to_bytes(2) + RANDOM
    body += vector(1, session) + vector(2, suites) + vector(1, compression)
    if extensions is not None:
        body += vector(
            2, b"".join(kind.to_bytes(2) + vector(2, content) for kind, content in extensions)
        )
    return body


def in_records(body: bytes, cuts: Sequence[int] = ()) -> bytes:
    """The handshake message, its records ending at ``cuts``."""
    message = b"\x01" + vector(3, body)
    bounds = [0, *sorted({cut for cut in cuts if 0 < cut < len(message)}), len(message)]
    return b"".join(
        b"\x16\x03\x01" + vector(2, message[start:end]) for start, end in pairwise(bounds)
    )
