"""The client connection preface of HTTP/2 with prior knowledge (RFC 9113 section 3.4)."""

from __future__ import annotations

from edgemesh.wire.recognition import Recognition

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def recognise_preface(data: bytes) -> Recognition:
    """Whether a connection's first bytes are the 24 bytes of the preface, or may become so."""
    if data.startswith(PREFACE):
        return Recognition.YES
    if PREFACE.startswith(data):
        return Recognition.PENDING
    return Recognition.NO
