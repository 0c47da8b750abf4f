"""The cloud's links: nodes dial them, and what one node sends to another is passed on."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

import trio

from edgemesh.bus.cloudhub.credentials import Credentials
from edgemesh.bus.cloudhub.door import Door
from edgemesh.bus.cloudhub.replicas import Replicas
from edgemesh.bus.edgehub.address import CloudAddress
from edgemesh.bus.link.links import Links
from edgemesh.bus.link.shared import Shared
from edgemesh.bus.link.tls import LinkTls
from edgemesh.bus.pki.checks import check_not_revoked
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.kernel.sockets import Address
from edgemesh.model.peers import PeerStatus
from edgemesh.model.settings import Settings
from edgemesh.model.streams import CLOUD
from edgemesh.observe.log import get_logger
from edgemesh.proxy.plane import Plane
from edgemesh.wire.message import Message

_log = get_logger("links")
_LOOK_SECONDS = 60.0


class CloudLinks:
    """See the module.

    Attributes:
        links: whose `take_services` and `take_kind` say who gets streams that end in the cloud.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        door: Door,
        plane: Plane,
        replicas: Replicas | None = None,
    ) -> None:
        """Take no links before `run`.

        Args:
            settings: complete.
            credentials: of this replica.
            door: where links arrive.
            plane: whose reactor drives them, and whose calls they carry to nodes.
            replicas: all of them; None where there is one.

        Raises:
            CertificateProblem: the replica's own certificate cannot be used.
        """
        self._credentials = credentials
        self._door = door
        self._plane = plane
        shared = Shared(
            CLOUD,
            settings.bus,
            plane.reactor,
            LinkTls(credentials.identity),
            check=self._check,
            wall_clock=_now,
            own_mark=0,
        )
        self._settings = settings.cloud
        self._replicas = replicas
        self._others: list[tuple[str, Address]] = []
        self.links = Links(shared, lambda: self._others)
        credentials.on_revocation(self.links.check_again)

    def peers(self, _request: Message) -> list[PeerStatus]:
        """Answer ``null/peers``."""
        return self.links.peers()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take links until cancelled; the plane serves meanwhile."""
        plane, links = self._plane, self.links
        links.start()
        self._door.adopt = links.adopt
        plane.remote = links

        def end() -> None:
            plane.at_end.remove(end)
            self._door.adopt = plane.remote = None
            links.close()

        # When all is cancelled at once the plane may end first, and its reactor with it.
        plane.at_end.append(end)
        try:
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._renew)
                if self._replicas is not None:
                    nursery.start_soon(self._find_others, self._replicas)
        finally:
            if end in plane.at_end:
                end()

    async def _renew(self) -> None:
        """Show the certificate that is in force."""
        shown = self._credentials.hub_context()
        while True:
            await trio.sleep(_LOOK_SECONDS)
            if self._credentials.hub_context() is shown:
                continue
            shown = self._credentials.hub_context()
            try:
                self.links.renew(await trio.to_thread.run_sync(LinkTls, self._credentials.identity))
            except CertificateProblem as problem:
                _log.error("links cannot be made", problem=str(problem))

    async def _find_others(self, replicas: Replicas) -> None:
        """Look up where other replicas are."""
        while True:
            found: list[tuple[str, Address]] = []
            for replica in list(replicas.living):
                if replica.name != self._settings.name and replica.address:
                    host, port = CloudAddress.parse(replica.address)
                    found += [(host, each) for each in (await _resolved(host, port))[:1]]
            self._others = found
            await trio.sleep(self._settings.presence_seconds)

    def _check(self, der: bytes) -> None:
        check_not_revoked(der, self._credentials.revoked)


async def _resolved(host: str, port: int) -> list[Address]:
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        _log.warning("no address of a replica", host=host, problem=str(error))
        return []
    return [(str(each[4][0]), int(each[4][1])) for each in found]


def _now() -> datetime:
    return datetime.now(UTC)
