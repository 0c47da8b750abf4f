"""From a node's settings to a connection that Messages pass: certificate, TLS, upgrade."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from edgemesh.bus.edgehub.address import CloudAddress
from edgemesh.bus.edgehub.credentials import Credentials
from edgemesh.bus.edgehub.dialling import Dialler, words_of
from edgemesh.bus.edgehub.session import Frames
from edgemesh.bus.edgehub.watched_stream import WatchedStream
from edgemesh.bus.edgehub.websocket import Upgrade, open_websocket
from edgemesh.bus.pki.contexts import client_context
from edgemesh.bus.pki.problems import Clock, clock_now
from edgemesh.model.bus_settings import BusSettings
from edgemesh.wire.kubeedge.session import upgrade_headers, upgrade_path

# Each side says so of itself; KubeEdge's ends know nothing of it.
EDGEMESH_FIELD = "Edgemesh-Version"
EDGEMESH_VERSION = "1"


class Connected(NamedTuple):
    """A connection to the cloud.

    Args:
        frames: that Messages are sent in.
        edgemesh: whether the cloud is of our kind.
        local: this side's address.
    """

    frames: Frames
    edgemesh: bool
    local: str


class Connector:
    """Connects to one cloud.

    Args:
        settings: times and limits.
        node: this one.
        address: of the cloudhub.
        credentials: what is shown there.
        dialler: opens connections.
        clock: by which certificates are judged.
    """

    def __init__(
        self,
        settings: BusSettings,
        node: str,
        address: CloudAddress,
        credentials: Credentials,
        dialler: Dialler,
        *,
        clock: Clock = clock_now,
    ) -> None:
        self._settings = settings
        self._node = node
        self._address = address
        self._credentials = credentials
        self._dialler = dialler
        self._clock = clock

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connected]:
        """A connection for the block; it is cut at the end of it.

        Raises:
            OperatorError: this node is not set up for it.
            CertificateProblem: one side refused the other's certificate.
            CloudProblemError: the cloud cannot be reached, or refused.
        """
        settings = self._settings
        context = client_context(await self._credentials.ensure(), clock=self._clock)
        fields = upgrade_headers(settings.project, self._node)
        upgrade = Upgrade(
            str(self._address),
            upgrade_path(settings.project, self._node),
            {**dict(fields), EDGEMESH_FIELD: EDGEMESH_VERSION},
        )
        async with self._dialler.tls(self._address, context) as tls:
            stream = WatchedStream(
                tls,
                settings.silence_seconds,
                lambda error: words_of(error, context, "broke off the connection"),
            )
            async with open_websocket(
                stream,
                upgrade,
                seconds=settings.dial_seconds,
                max_message_bytes=settings.max_message_bytes,
            ) as websocket:
                local = str(tls.transport_stream.socket.getsockname()[0])
                edgemesh = EDGEMESH_FIELD.lower() in websocket.fields
                yield Connected(websocket, edgemesh, local)
