"""The cloud's links: nodes dial them, and what one node sends to another is passed on."""

from __future__ import annotations

from datetime import UTC, datetime

import trio

from edgemesh.bus.cloudhub.credentials import Credentials
from edgemesh.bus.cloudhub.door import Door
from edgemesh.bus.link.links import Elsewhere, Links
from edgemesh.bus.link.shared import Shared
from edgemesh.bus.link.tls import LinkTls
from edgemesh.bus.pki.checks import check_not_revoked
from edgemesh.bus.pki.problems import CertificateProblem
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
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """Take no links before `run`.

        Args:
            settings: complete.
            credentials: of this replica.
            door: where links arrive.
            plane: whose reactor drives them, and whose calls they carry to nodes.
            elsewhere: the address of the replica that a node hangs on.

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
        self.links = Links(shared, elsewhere)
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
            await self._renew()
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

    def _check(self, der: bytes) -> None:
        check_not_revoked(der, self._credentials.revoked)


def _now() -> datetime:
    return datetime.now(UTC)
