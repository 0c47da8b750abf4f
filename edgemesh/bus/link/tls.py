"""TLS of links: who may be at the other end, and until when."""

from __future__ import annotations

import ssl
from datetime import datetime

from edgemesh.bus.pki.authority import CLOUD_PREFIX
from edgemesh.bus.pki.checks import node_in_subject, read_certificate
from edgemesh.bus.pki.contexts import Expected, client_context, server_context
from edgemesh.bus.pki.identity import Identity
from edgemesh.bus.pki.problems import CertificateProblem, name_of
from edgemesh.model.streams import CLOUD

ALPN = "edgemesh-link/1"


class LinkTls:
    """What new links are made with."""

    __slots__ = ("_listening", "_to_cloud", "_to_nodes")

    def __init__(self, identity: Identity) -> None:
        """Read the files of an identity as they are now.

        Raises:
            CertificateProblem: they cannot be used.
        """
        newest = ssl.TLSVersion.TLSv1_3
        self._to_nodes: ssl.SSLContext = client_context(
            identity, [ALPN], expected=Expected.NODE, minimum=newest
        )
        self._to_cloud: ssl.SSLContext = client_context(
            identity, [ALPN], expected=Expected.HOST, minimum=newest
        )
        self._listening: ssl.SSLContext = server_context(identity, [ALPN], minimum=newest)

    def for_end(self, dialled: str) -> ssl.SSLContext:
        """The context for a link to who is dialled, "" for one that others dial."""
        if not dialled:
            return self._listening
        return self._to_cloud if dialled == CLOUD else self._to_nodes


def end_of(der: bytes) -> tuple[str, datetime]:
    """Which end a certificate is for, a node or `CLOUD`, and until when.

    Raises:
        CertificateProblem: it is no end's.
    """
    certificate = read_certificate(der)
    subject = certificate.subject
    node = node_in_subject(subject)
    if node is None:
        names = [part.value for part in subject if part.rfc4514_attribute_name == "CN"]
        if len(names) != 1 or not str(names[0]).startswith(CLOUD_PREFIX):
            raise CertificateProblem(f"{name_of(certificate)} is no node's, and not the cloud's")
        node = CLOUD
    elif node == CLOUD:
        raise CertificateProblem(f"{name_of(certificate)}: no node is called {CLOUD}")
    return node, certificate.not_valid_after_utc
