"""What all links of one end share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from edgemesh.bus.link.counts import LinkCounts
from edgemesh.bus.link.tls import LinkTls, end_of
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.model.bus_settings import BusSettings
from edgemesh.reactor.reactor import Reactor
from edgemesh.wire.link.frames import DATAGRAM_BYTES, HEADER_BYTES, VERSION, Hello

# Read of a connection at once.
READ_BYTES = 262144
# Of one TLS record (RFC 8446 section 5.1), of which the last may have come in two reads.
RECORD_BYTES = 16384

# Before a certificate ends no streams are opened any more.
LAST_SECONDS = 60.0


class Shared:
    """See the module.

    Attributes:
        node: who this end is.
        settings: limits and deadlines.
        reactor: that the links are driven by.
        tls: what new links are made with.
        hello: what this end says of itself.
        check: raises `CertificateProblem` for a certificate (DER) that was revoked.
        wall_clock: by which certificates end.
        own_mark: SO_MARK of sockets that are dialled, 0 for none.
        ended: what links have carried that are over.
        cipher, plain: what is read, and what it says; used within one event only.
    """

    def __init__(
        self,
        node: str,
        settings: BusSettings,
        reactor: Reactor,
        tls: LinkTls,
        *,
        check: Callable[[bytes], None],
        wall_clock: Callable[[], datetime],
        own_mark: int,
    ) -> None:
        """Allocate the buffers; arguments are the attributes of the same name."""
        self.node = node
        self.settings = settings
        self.reactor = reactor
        self.tls = tls
        self.check = check
        self.wall_clock = wall_clock
        self.own_mark = own_mark
        self.ended = LinkCounts()
        self.hello = Hello(
            version=VERSION,
            node=node,
            max_frame=settings.max_frame_bytes,
            stream_window=settings.stream_window_bytes,
            link_window=settings.link_window_bytes,
            max_streams=settings.max_streams,
        )
        largest = HEADER_BYTES + max(settings.max_frame_bytes, DATAGRAM_BYTES)
        self.cipher = memoryview(bytearray(READ_BYTES))
        self.plain = memoryview(bytearray(READ_BYTES + largest + 2 * RECORD_BYTES))

    def identify(self, der: bytes, expected: str) -> tuple[str, float]:
        """Who shows a certificate, and for how many seconds more it may.

        Args:
            der: the certificate, which TLS has checked.
            expected: who was dialled, "" for nobody.

        Raises:
            CertificateProblem: it is nobody's, or another's, or was revoked.
        """
        self.check(der)
        node, until = end_of(der)
        if expected not in {"", node}:
            raise CertificateProblem(f"it is {node}, not {expected}")
        return node, max((until - self.wall_clock()).total_seconds(), 0.0)
