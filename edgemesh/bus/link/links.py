"""All links of this end: who can be reached how, and what comes from others.

A node reaches others by links of their own or by the cloud, which passes streams on. It dials who
is called, and takes links that others dial; either carries streams of both. In the cloud nobody is
dialled but other replicas.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from edgemesh.bus.link.counts import LinkCounts
from edgemesh.bus.link.forward import pass_on
from edgemesh.bus.link.link import Link
from edgemesh.bus.link.peer import Peer
from edgemesh.bus.link.replica import Replica
from edgemesh.bus.link.search import Passenger, Seeker
from edgemesh.bus.link.shared import Shared
from edgemesh.bus.link.stream import Stream
from edgemesh.bus.link.tls import LinkTls
from edgemesh.kernel.sockets import Address
from edgemesh.model.peers import PeerStatus, Way
from edgemesh.model.services import Transport
from edgemesh.model.streams import CLOUD, InboundStream, StreamRequest
from edgemesh.observe.log import get_logger
from edgemesh.reactor.reactor import Handler
from edgemesh.reactor.timers import Timer
from edgemesh.reactor.virtual import VirtualSocket
from edgemesh.wire.host_port import joined
from edgemesh.wire.link.opening import SERVICE, Opening

_log = get_logger("links")
_LOOK_SECONDS = 0.5

Taker = Callable[[VirtualSocket, Opening], None]
# Host and address of each other replica of the cloud: certificates are for hosts.
Elsewhere = Callable[[], Sequence[tuple[str, Address]]]


class Links:
    """See the module. What tasks call (`know`, `adopt`, ...) is called between turns.

    Attributes:
        arriving: links that others have dialled and that have not said yet whose they are.
        refused: links that were not taken, for whatever reason.
    """

    def __init__(self, shared: Shared, elsewhere: Elsewhere | None = None) -> None:
        """Know nobody.

        Args:
            shared: what all links have; its node is `CLOUD` in the cloud, which passes streams on.
            elsewhere: where other replicas of the cloud are now.
        """
        self._shared = shared
        self._reactor = shared.reactor
        self._elsewhere = elsewhere
        self._forwards = shared.node == CLOUD
        self._takers: dict[str, Taker] = {}
        self._peers: dict[str, Peer] = {}
        self._cloud: Peer | None = None
        self._replicas: dict[tuple[str, Address], Replica] = {}
        self._from_replicas: set[Link] = set()
        self._timer: Timer[Handler] | None = None
        self._closed = False
        self.arriving: set[Link] = set()
        self.refused = 0

    # What tasks call.

    def start(self) -> None:
        """Look after the links from now on."""
        self._reactor.call(self, self._look)

    def know(self, nodes: Mapping[str, Sequence[Address]]) -> None:
        """Other nodes of the mesh, with the addresses where each can be dialled, if any."""
        self._reactor.call(self, partial(self._know, nodes))

    def know_cloud(self, host: str, addresses: Sequence[Address]) -> None:
        """Where the cloud is, if it takes links; ``host`` is what its certificate is for."""
        self._reactor.call(self, partial(self._know_cloud, host, addresses))

    def adopt(self, sock: socket.socket) -> None:
        """Take a connection whose first byte is still to be read.

        Ownership: the socket is closed here.
        """
        self._reactor.call(self, partial(self.take, sock))

    def renew(self, tls: LinkTls) -> None:
        """Make new links with another certificate; others last as long as the ones they show."""
        self._shared.tls = tls

    def check_again(self) -> None:
        """End the links of those whose certificates were revoked meanwhile."""
        self._reactor.call(self, self._check_again)

    def close(self) -> None:
        """End everything."""
        self._reactor.call(self, self._close)

    def take_services(self, enter: Callable[[VirtualSocket, InboundStream], None]) -> None:
        """Give streams for Services to ``enter``, which accepts or refuses each."""

        def take(sock: VirtualSocket, opening: Opening) -> None:
            try:
                wanted = opening.inbound()
            except ValueError as error:
                sock.refuse(errno.EINVAL, str(error))
                return
            enter(sock, wanted)

        self.take_kind(SERVICE, take)

    def take_kind(self, kind: str, taker: Taker) -> None:
        """Give streams for resources of a kind to ``taker``, which accepts or refuses each."""
        self._takers[kind] = taker

    def peers(self) -> list[PeerStatus]:
        """How every other end is reached, by name."""
        cloud = [] if self._cloud is None else [self._cloud.status()]
        return cloud + [self._peers[node].status() for node in sorted(self._peers)]

    def counts(self) -> LinkCounts:
        """What all links have carried, those that are over too."""
        counts = self._shared.ended.copy()
        links = [link for peer in self._everybody() for link in peer.links()]
        for link in [*links, *self._from_replicas]:
            counts.add(link)
        return counts

    @property
    def streams(self) -> int:
        """How many are open, on all links."""
        return sum(status.streams for status in self.peers())

    # What the data plane calls (`proxy.remote.Remote`).

    def route(self, node: str) -> str:
        """How streams get to another end; "" where endpoints are dialled at their addresses."""
        if node == CLOUD:
            cloud = self._cloud
            is_there = cloud is not None and (cloud.link is not None or cloud.addresses)
            return Way.CLOUD if is_there else Way.NONE
        peer = self._peers.get(node)
        if peer is None or not (peer.known or peer.link is not None):
            return Way.NONE
        # It may be that nothing goes there now; to dial its endpoints would go past the mesh.
        return peer.way() or Way.LINK

    def connect(self, request: StreamRequest) -> VirtualSocket | None:
        """Begin a stream to an endpoint of a Service; None when there is no way.

        Ownership: the caller closes the socket.
        """
        return self.open(Opening.of(request, self._shared.node))

    def open(self, opening: Opening) -> VirtualSocket | None:
        """The same for anything that another end takes."""
        node = opening.destination
        peer = self._cloud if node == CLOUD else self._peers.get(node)
        others = self._others() if peer is None or peer.link is None else []
        if self._closed or (peer is None and not others):
            return None
        sock = VirtualSocket(self._reactor, datagrams=opening.transport is Transport.UDP)
        if peer is not None and peer.connect(opening, sock):
            return sock
        if others:
            Seeker(sock, opening, others)
            return sock
        sock.close()
        return None

    # What listeners and links call.

    def take(self, sock: socket.socket) -> None:
        """Take a connection within the reactor's turn."""
        if self._closed or len(self.arriving) >= self._shared.settings.max_handshakes:
            self.refused += 1
            sock.close()
            return
        try:
            address = sock.getpeername()
        except OSError:
            sock.close()
            return
        link = Link(self._shared, self, sock, joined(address[0], address[1]))
        self.arriving.add(link)
        link.start()

    def came_up(self, link: Link) -> None:
        """It is known whose a link is that another end has dialled."""
        self.arriving.discard(link)
        if link.node == CLOUD:
            # A replica; this end dials for streams of its own.
            self._from_replicas.add(link)
            return
        peer = self._peer(link.node)
        link.owner = peer
        peer.came_up(link)

    def went_down(self, link: Link) -> None:
        """A link that belongs to nobody is over."""
        self._from_replicas.discard(link)
        if link in self.arriving:
            self.arriving.discard(link)
            self.refused += 1
            _log.info("link was not taken", address=link.address, problem=link.problem)

    def changed(self, link: Link) -> None:
        """Nobody depends on it."""

    def wanted(self, link: Link, stream: Stream, opening: Opening) -> None:
        """Another end wants a stream."""
        own = self._shared.node
        if link.node not in {CLOUD, opening.source}:
            stream.refuse(errno.EPERM, f"{link.node} may not speak for {opening.source}")
        elif opening.destination == own:
            self._arrive(stream, opening)
        elif not self._forwards:
            stream.refuse(errno.EHOSTUNREACH, f"{own} passes nothing on")
        elif opening.hops >= self._shared.settings.max_hops:
            stream.refuse(errno.ELOOP, f"passed on {opening.hops} times")
        else:
            self._forward(link, stream, opening)

    def on_events(self, events: int) -> None:
        """There is no descriptor."""

    def on_bug(self, error: Exception) -> None:
        """The reactor has logged it; links go on."""

    def _arrive(self, stream: Stream, opening: Opening) -> None:
        taker = self._takers.get(opening.resource.type)
        if taker is None:
            reason = f"{self._shared.node} takes no streams for {opening.resource}"
            stream.refuse(errno.EPROTONOSUPPORT, reason)
            return
        sock = VirtualSocket(self._reactor, datagrams=stream.datagrams)
        sock.far = stream
        stream.near = sock
        taker(sock, opening)

    def _forward(self, link: Link, stream: Stream, opening: Opening) -> None:
        node = opening.destination
        peer = self._peers.get(node)
        onward = peer.link if peer is not None else None
        if onward is not None and not onward.may_open:
            stream.refuse(errno.EAGAIN, f"{node} has too many streams")
            return
        if onward is not None:
            try:
                pass_on(stream, opening, onward)
            except ValueError as error:
                stream.refuse(errno.EMSGSIZE, str(error))
            return
        # When it comes from another replica, that one does the looking.
        Passenger(stream, opening, [] if link.node == CLOUD else self._others())

    def _others(self) -> list[Replica]:
        """Other replicas of the cloud."""
        places = self._elsewhere() if self._elsewhere is not None else ()
        for place in places:
            if place not in self._replicas:
                self._replicas[place] = Replica(self._shared, *place, self)
        return [self._replicas[place] for place in places]

    def _peer(self, node: str) -> Peer:
        peer = self._peers.get(node)
        if peer is None:
            peer = self._peers[node] = Peer(self._shared, node, self._hub, self)
        return peer

    def _hub(self) -> Link | None:
        """The link by which the cloud passes streams on, while it is sound."""
        link = self._cloud.link if self._cloud is not None else None
        return None if link is None or link.attendance.doubted else link

    # Who there is.

    def _know(self, nodes: Mapping[str, Sequence[Address]]) -> None:
        for node in self._peers.keys() - nodes.keys():
            if self._peers[node].known:
                self._peers[node].gone(f"{node} is no node of the mesh any more")
        for node, addresses in nodes.items():
            if node != self._shared.node:
                peer = self._peer(node)
                peer.known = True
                peer.moved(tuple(addresses))

    def _know_cloud(self, host: str, addresses: Sequence[Address]) -> None:
        if self._closed:
            return
        if self._cloud is None:
            self._cloud = Peer(self._shared, CLOUD, lambda: None, self)
            self._cloud.known = self._cloud.keep = True
        self._cloud.server_name = host
        self._cloud.moved(tuple(addresses))
        self._keep_cloud(self._cloud)

    def _keep_cloud(self, cloud: Peer) -> None:
        now = self._reactor.now
        if cloud.link is None and cloud.addresses and cloud.route.is_dial_due(now, hub=True):
            cloud.dial()

    def _look(self) -> None:
        """Try what failed again, and forget who is not of the mesh."""
        self._timer = self._reactor.after(_LOOK_SECONDS, self, self._look)
        if self._cloud is not None:
            self._keep_cloud(self._cloud)
        for node in list(self._peers):
            peer = self._peers[node]
            if peer.is_used:
                peer.probe()
            else:
                del self._peers[node]

    def _check_again(self) -> None:
        for peer in self._everybody():
            for link in peer.links():
                link.check_again()

    def _close(self) -> None:
        self._closed = True
        reason = "this end has stopped"
        if self._timer is not None:
            self._timer.cancel()
        for peer in self._everybody():
            peer.end(reason)
        for replica in self._replicas.values():
            replica.end(reason)
        for link in [*self.arriving, *self._from_replicas]:
            link.drain(reason)
            link.end(reason)

    def _everybody(self) -> list[Peer]:
        return [*self._peers.values(), *([self._cloud] if self._cloud is not None else [])]
