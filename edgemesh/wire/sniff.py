"""Work out a connection's protocol from its first bytes, which stay where they are.

The caller peeks, asks, and either has its answer or peeks again for more; its deadline decides
how long. The bias is availability over certainty: whatever is not surely known, and whatever
has not shown itself in time (a protocol where the server speaks first), is opaque and is
forwarded as it is. Who needs a policy on a port under all circumstances declares its protocol.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgemesh.wire.client_hello import (
    HANDSHAKE_RECORD,
    SIGNATURE_BYTES,
    NotClientHello,
    read_client_hello,
)
from edgemesh.wire.http1_head import read_host, recognise_request_line
from edgemesh.wire.http2_preface import recognise_preface

# Twice the longest request line and far above any ClientHello that is sent today (about 2 KiB
# with post-quantum keys); also as much as one TLS record carries.
SNIFF_LIMIT = 16384


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What a connection's first bytes say.

    Args:
        application_protocol: ``tls``, ``http`` (HTTP/1), ``http2`` (prior knowledge; gRPC
            looks the same) or ``opaque``.
        server_name: from the ClientHello, or from the Host when it came along; in lower case.
        alpn: what a TLS client offers, in its order.
    """

    application_protocol: str
    server_name: str = ""
    alpn: tuple[str, ...] = ()


_TLS = Sniffed("tls")
_HTTP2 = Sniffed("http2")
OPAQUE = Sniffed("opaque")


def sniff(
    prefix: bytes | memoryview, *, complete: bool = False, limit: int = SNIFF_LIMIT
) -> Sniffed | None:
    """Tell the protocol as early as the bytes allow.

    More bytes never change an ``application_protocol`` once given; the Host of an HTTP/1
    request may come later than its first line and is then "".

    Args:
        prefix: the first bytes of the connection, from its very start.
        complete: no more bytes will be looked at (deadline, end of stream, full buffer).
        limit: how many bytes are looked at; that many count as complete.

    Returns:
        None when more bytes are needed, never so when complete.
    """
    complete = complete or len(prefix) >= limit
    data = bytes(prefix[:limit])
    if not data:
        return OPAQUE if complete else None

    # 1. TLS: its first byte is no letter, so what follows here cannot be mistaken for it.
    if data[0] == HANDSHAKE_RECORD:
        return _sniff_tls(data, complete=complete)

    # 2. HTTP/2: its preface was made to look like a request line of HTTP/1.
    recognised = recognise_preface(data)
    if recognised:
        return _HTTP2

    # 3. HTTP/1.
    if recognised is False:
        recognised = recognise_request_line(data)
        if recognised:
            return Sniffed("http", read_host(data))

    # 4. Anything else, once it can be nothing of the above any more.
    return None if recognised is None and not complete else OPAQUE


def _sniff_tls(data: bytes, *, complete: bool) -> Sniffed | None:
    try:
        hello = read_client_hello(data)
    except NotClientHello:
        return OPAQUE
    if hello is not None:
        return Sniffed("tls", hello.server_name, hello.alpn)
    if not complete:
        return None
    return _TLS if len(data) >= SIGNATURE_BYTES else OPAQUE
