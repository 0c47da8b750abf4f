"""The agent's connection to the cloud: its parts put together, and what they say of themselves."""

from __future__ import annotations

import random
from collections.abc import Iterator

import trio

from edgemesh.app.edge_router import EdgeRouter
from edgemesh.bus.edgehub.address import CloudAddress
from edgemesh.bus.edgehub.connector import Connector
from edgemesh.bus.edgehub.credentials import Credentials, identity_folder
from edgemesh.bus.edgehub.dialling import Dialler
from edgemesh.bus.edgehub.edgehub import Edgehub
from edgemesh.bus.edgehub.enrolment import EnrolmentClient
from edgemesh.bus.pki.identity import Identity
from edgemesh.kernel.addresses import neighbouring_addresses
from edgemesh.meta.sync import Synchroniser
from edgemesh.model.edgehub_status import EdgehubStatus
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import Settings
from edgemesh.observe.log import get_logger
from edgemesh.policy.bus.link_addresses import link_addresses
from edgemesh.store.store import Store

_log = get_logger("edgehub")

# In a status; the log has all of them.
_REFUSED_SHOWN = 10


class CloudConnection:
    """What an agent needs of a cloud.

    Attributes:
        edgehub: sends, asks, hands on.
        credentials: this node's certificate; links show it, too.
        router: the node's servicebus and eventbus.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        """Connect to nothing yet; see `run`.

        Raises:
            OperatorError: a setting of the bus is malformed.
        """
        bus = self._settings = settings.bus
        self._address = CloudAddress.parse(bus.cloud)
        self._told = self._link_addresses(())
        dialler = Dialler(settings.netfilter.own_mark, bus.dial_seconds)
        enrolment = EnrolmentClient(
            settings.node,
            CloudAddress(self._address.host, bus.enrolment_port),
            dialler,
            bus.answer_seconds,
        )
        identity = Identity.within(identity_folder(settings.state_dir), settings.node)
        self.credentials = Credentials(bus, identity, enrolment, random.random)
        connector = Connector(bus, settings.node, self._address, self.credentials, dialler)
        self._sync = Synchroniser(store)
        self.edgehub = Edgehub(
            bus,
            settings.node,
            connector.connect,
            self._sync,
            addresses=self._addresses,
            chance=random.random,
        )
        self.router = EdgeRouter(settings, store, self.edgehub)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the connection and the certificate until cancelled.

        Started soon: a node serves what it has, whether the cloud is there or not.

        Raises:
            OperatorError: the servicebus cannot listen.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.credentials.keep_fresh)
            await nursery.start(self.router.run)
            nursery.start_soon(self.edgehub.run)
            task_status.started()

    def status(self) -> EdgehubStatus:
        """How the connection stands."""
        hub, sync = self.edgehub, self._sync
        now = trio.current_time()
        expires = self.credentials.expires
        kinds = {None: "", True: "edgemesh", False: "KubeEdge"}
        shown = list(sync.refused.items())[-_REFUSED_SHOWN:]
        return EdgehubStatus(
            address=str(self._address),
            connected=hub.connected,
            seconds=round(now - hub.since, 1),
            peer=kinds[hub.edgemesh],
            problem=hub.problem,
            notices=(*hub.notices, *self._certificate_notice()),
            store=sync.position.store,
            revision=sync.position.revision,
            synced=sync.synced and hub.connected,
            unsynced_seconds=round(self._unsynced_seconds(now), 1),
            certificate_end="" if expires is None else f"{expires:%FT%TZ}",
            connections=hub.connections,
            messages=dict(hub.counts),
            objects=dict(sync.written),
            waiting=hub.waiting,
            refused=dict(shown),
        )

    def _certificate_notice(self) -> Iterator[str]:
        if self.credentials.problem:
            yield f"the certificate cannot be renewed: {self.credentials.problem}"

    def _unsynced_seconds(self, now: float) -> float:
        hub, sync = self.edgehub, self._sync
        if not sync.synced:
            return now - sync.synced_changed
        return 0 if hub.connected else now - hub.since

    async def _addresses(self, local: str) -> tuple[str, ...]:
        try:
            found = await trio.to_thread.run_sync(neighbouring_addresses, local)
        except OSError as error:
            _log.warning("addresses of this node cannot be listed", problem=error.strerror)
        else:
            self._told = self._link_addresses(found)
        return self._told

    def _link_addresses(self, local: tuple[str, ...]) -> tuple[str, ...]:
        bus = self._settings
        if bus.links == "off":
            return ()
        try:
            return link_addresses(bus.link_listen, bus.link_addresses, local)
        except ValueError as error:
            raise OperatorError(f"bus.link_listen or bus.link_addresses: {error}") from None
