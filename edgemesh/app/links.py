"""A node's links: brought up when it has a certificate, told of other nodes and of the cloud."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from datetime import UTC, datetime

import trio

from edgemesh.app.links_metrics import link_families
from edgemesh.bus.cloudhub.listening import open_listeners
from edgemesh.bus.edgehub.address import CloudAddress
from edgemesh.bus.edgehub.credentials import Credentials
from edgemesh.bus.edgehub.edgehub import Edgehub
from edgemesh.bus.link.links import Links
from edgemesh.bus.link.listener import LinkListener
from edgemesh.bus.link.shared import Shared
from edgemesh.bus.link.tls import LinkTls
from edgemesh.bus.pki.checks import Revoked, check_not_revoked
from edgemesh.bus.pki.identity import Identity
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.bus.pki.revocations import REVOCATIONS, read_revocations
from edgemesh.bus.router.streams import ServicebusStreams
from edgemesh.kernel.sockets import Address
from edgemesh.meta.feed import ChangeFeed
from edgemesh.model.objects import ChangeType
from edgemesh.model.peers import PeerStatus
from edgemesh.model.settings import Settings
from edgemesh.model.streams import LINK_ANNOTATION
from edgemesh.observe.log import get_logger
from edgemesh.observe.metrics.exposition import Family
from edgemesh.proxy.plane import Plane
from edgemesh.wire.host_port import parse_host_port
from edgemesh.wire.link.opening import SERVICEBUS
from edgemesh.wire.message import Message

_log = get_logger("links")


class NodeLinks:
    """See the module.

    Attributes:
        links: None until there is a certificate.
    """

    def __init__(
        self,
        settings: Settings,
        plane: Plane,
        credentials: Credentials,
        edgehub: Edgehub,
        feed: ChangeFeed,
        *,
        reach_by_bus: Callable[[frozenset[str]], None],
        servicebus_ports: Callable[[], AbstractSet[int]],
    ) -> None:
        """Link to nobody yet; see `run`.

        Args:
            settings: complete, with a cloud.
            plane: whose calls the links carry, both ways.
            credentials: of this node.
            edgehub: knows whether the cloud is of our kind.
            feed: everything in the store.
            reach_by_bus: told which nodes' endpoints are reached by links.
            servicebus_ports: of applications of this node that the cloud may call, at present.

        Raises:
            OperatorError: ``bus.cloud`` is malformed.
        """
        self._settings = settings
        self._plane = plane
        self._edgehub = edgehub
        self._feed = feed
        self._reach_by_bus = reach_by_bus
        self._direct = settings.bus.remote_endpoints == "direct"
        plane.prefers_direct = self._direct
        self._cloud = CloudAddress.parse(settings.bus.cloud)
        bus = settings.bus
        self._servicebus = ServicebusStreams(
            plane.reactor, servicebus_ports, bus.dial_seconds, bus.max_uploads
        )
        self._identity: Identity | None = None
        self._revoked = Revoked()
        self._renewed = trio.Event()
        self.links: Links | None = None
        credentials.on_identity(self._take_identity)

    def peers(self, _request: Message) -> list[PeerStatus]:
        """Answer ``null/peers``."""
        return [] if self.links is None else self.links.peers()

    def families(self) -> Iterable[Family]:
        """Metrics, as soon as there are links."""
        return () if self.links is None else link_families(self.links)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep links until cancelled; started once others could dial, though nobody is answered.

        Raises:
            OperatorError: an address cannot be listened on.
        """
        listeners = await open_listeners("bus.link_listen", self._settings.bus.link_listen)
        sockets = [socket.socket(fileno=each.socket.detach()) for each in listeners]
        try:
            task_status.started()
            shared = self._shared(await self._next_tls())
            with self._linked(shared, sockets) as links:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._renew, links)
                    nursery.start_soon(self._servicebus.run)
                    nursery.start_soon(self._follow_nodes, links)
                    nursery.start_soon(self._find_cloud, links)
        finally:
            for sock in sockets:
                sock.close()

    def _shared(self, tls: LinkTls) -> Shared:
        return Shared(
            self._settings.node,
            self._settings.bus,
            self._plane.reactor,
            tls,
            check=self._check,
            wall_clock=_now,
            own_mark=self._settings.netfilter.own_mark,
        )

    @contextmanager
    def _linked(self, shared: Shared, sockets: Sequence[socket.socket]) -> Iterator[Links]:
        """Links that the data plane uses, and that others may dial."""
        plane = self._plane
        links = Links(shared)
        links.take_services(plane.enter)
        links.take_kind(SERVICEBUS, self._servicebus.take)
        listeners = [LinkListener(plane.reactor, sock, links.take) for sock in sockets]
        for listener in listeners:
            plane.reactor.call(listener, listener.start)
        links.start()
        self.links = plane.remote = links

        def end() -> None:
            plane.at_end.remove(end)
            self.links = plane.remote = None
            self._reach_by_bus(frozenset())
            for listener in listeners:
                plane.reactor.call(listener, listener.stop)
            links.close()

        # When all is cancelled at once the plane may end first, and its reactor with it.
        plane.at_end.append(end)
        try:
            yield links
        finally:
            if end in plane.at_end:
                end()

    def _take_identity(self, identity: Identity) -> None:
        self._identity = identity
        self._renewed.set()

    async def _next_tls(self) -> LinkTls:
        """TLS of the next certificate that can be used."""
        while True:
            await self._renewed.wait()
            self._renewed = trio.Event()
            assert self._identity is not None
            try:
                return await trio.to_thread.run_sync(LinkTls, self._identity)
            except CertificateProblem as problem:
                _log.error("links cannot be made", problem=str(problem))

    async def _renew(self, links: Links) -> None:
        while True:
            links.renew(await self._next_tls())

    async def _follow_nodes(self, links: Links) -> None:
        nodes: dict[str, tuple[Address, ...]] = {}
        async for batch in self._feed:
            before = dict(nodes)
            if batch.reset:
                nodes.clear()
            for change in batch.changes:
                key = change.object.key
                if key == REVOCATIONS and change.type is not ChangeType.DELETE:
                    self._shut_out(links, change.object.body)
                if key.kind != "Node":
                    continue
                addresses = _link_addresses(change.object.body)
                if change.type is ChangeType.DELETE or addresses is None:
                    nodes.pop(key.name, None)
                else:
                    nodes[key.name] = addresses
            if batch.synced and nodes != before:
                links.know(nodes)
                if not self._direct:
                    self._reach_by_bus(frozenset(nodes.keys() - {self._settings.node}))

    def _check(self, der: bytes) -> None:
        check_not_revoked(der, self._revoked)

    def _shut_out(self, links: Links, revocations: Mapping[str, object]) -> None:
        try:
            self._revoked = read_revocations(revocations)
        except ValueError as error:
            _log.warning("who is shut out cannot be read", problem=str(error))
        else:
            links.check_again()

    async def _find_cloud(self, links: Links) -> None:
        """Look up its name again and again: a cloud that moves is found."""
        while True:
            if self._edgehub.edgemesh is False:
                # A cloud of KubeEdge's knows no links.
                links.know_cloud(self._cloud.host, [])
            else:
                addresses = await self._resolve()
                if addresses:
                    links.know_cloud(self._cloud.host, addresses)
            await trio.sleep(self._settings.bus.probe_seconds)

    async def _resolve(self) -> list[Address]:
        try:
            found = await trio.socket.getaddrinfo(
                self._cloud.host, self._cloud.port, type=socket.SOCK_STREAM
            )
        except OSError as error:
            _log.info("no address of the cloud", host=self._cloud.host, problem=str(error))
            return []
        return list(dict.fromkeys((str(each[4][0]), int(each[4][1])) for each in found))


def _link_addresses(node: Mapping[str, object]) -> tuple[Address, ...] | None:
    """Where a Node takes links; None when it is none of the mesh."""
    metadata = node.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    told = annotations.get(LINK_ANNOTATION) if isinstance(annotations, Mapping) else None
    if not isinstance(told, str):
        return None
    addresses = []
    for text in filter(None, told.split(",")):
        try:
            addresses.append(parse_host_port(text.strip()))
        except ValueError as error:
            _log.warning("a node tells an address that is none", problem=str(error))
    return tuple(addresses)


def _now() -> datetime:
    return datetime.now(UTC)
