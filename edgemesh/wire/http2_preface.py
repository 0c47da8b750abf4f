"""The client connection preface of HTTP/2 with prior knowledge (RFC 9113 section 3.4)."""

from __future__ import annotations

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def recognise_preface(data: bytes) -> bool | None:
    """Whether a connection starts with the 24 bytes of the preface; None while it may."""
    if data.startswith(PREFACE):
        return True
    if PREFACE.startswith(data):
        return None
    return False
