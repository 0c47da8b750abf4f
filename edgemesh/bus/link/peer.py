"""One other end of the mesh: its links, the way that new streams take, and those that wait."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

from edgemesh.bus.link.dialling import Race
from edgemesh.bus.link.link import Link
from edgemesh.bus.link.pending import Pending
from edgemesh.bus.link.roles import Takes
from edgemesh.bus.link.shared import Shared
from edgemesh.bus.link.stream import Stream
from edgemesh.kernel.sockets import Address
from edgemesh.model.peers import PeerStatus, Way
from edgemesh.model.streams import CLOUD
from edgemesh.observe.log import get_logger
from edgemesh.policy.bus.peers import PeerRoute
from edgemesh.reactor.reactor import Handler
from edgemesh.reactor.timers import Timer
from edgemesh.reactor.virtual import VirtualSocket
from edgemesh.wire.link.opening import Opening

_log = get_logger("links")
# Links whose streams are still to end; an end that makes more of them is up to no good.
_MOST_OLD_LINKS = 8


class Peer:
    """See the module. The owner of its links.

    Attributes:
        node: its name.
        addresses: where it can be dialled.
        server_name: of its certificate, where that is not the node's.
        keep: links to it are not closed when nobody uses them.
        known: it is one of the mesh, whether there was ever a link or not.
        link: that new streams go by, None when there is none.
        route: how they go.
    """

    __slots__ = (
        "_hub",
        "_old",
        "_patience",
        "_pending",
        "_race",
        "_retry",
        "_shared",
        "_takes",
        "_told",
        "addresses",
        "keep",
        "known",
        "link",
        "node",
        "route",
        "server_name",
    )

    def __init__(
        self, shared: Shared, node: str, hub: Callable[[], Link | None], takes: Takes
    ) -> None:
        """Know nothing of it but its name.

        Args:
            shared: what all links have.
            node: its name.
            hub: the link by which it can be reached otherwise, if there is one.
            takes: gets the streams that the end wants here.
        """
        self._shared = shared
        self._hub = hub
        self._takes = takes
        self.node = node
        self.addresses: Sequence[Address] = ()
        self.server_name = ""
        self.keep = False
        self.known = False
        self.link: Link | None = None
        settings = shared.settings
        self.route = PeerRoute(
            settings.first_retry_seconds, settings.probe_seconds, shared.reactor.now
        )
        self._race: Race | None = None
        self._pending: list[Pending] = []
        self._patience: Timer[Handler] | None = None
        # The next attempt, where streams wait for it.
        self._retry: Timer[Handler] | None = None
        self._old: list[Link] = []
        self._told = ""

    def on_events(self, events: int) -> None:
        """There is no descriptor."""

    def on_bug(self, error: Exception) -> None:
        """The reactor has logged it; links go on."""

    @property
    def is_used(self) -> bool:
        """Whether there is anything to remember of it."""
        return self.known or self.link is not None or bool(self._old) or self._race is not None

    # Streams.

    def connect(self, opening: Opening, sock: VirtualSocket) -> bool:
        """Begin a stream, by whichever way; false when there is none."""
        now = self._shared.reactor.now
        self.route.asked(now)
        hub = self._hub()
        if self.link is None and self.route.is_dial_due(now, hub=hub is not None):
            self.dial()
        way = self.route.choose(now, hub=hub is not None)
        if way is Way.LINK and self.link is not None and self.link.may_open:
            return _open(self.link, opening, sock)
        if way is Way.LINK and self._race is not None:
            self._wait(opening, sock, has_hub=hub is not None)
            return True
        if hub is not None and hub.may_open:
            return _open(hub, opening, sock)
        hopeless = hub is not None or self.link is not None or not self.addresses
        if self._race is None and hopeless:
            return False
        self._wait(opening, sock, has_hub=False)
        if self._race is None and self._retry is None:
            seconds = self.route.wait_to_dial(now)
            self._retry = self._shared.reactor.after(seconds, self, self._dial_again)
        return True

    def forget(self, pending: Pending) -> None:
        """A stream that waited is not wanted any more."""
        if pending in self._pending:
            self._pending.remove(pending)

    def status(self) -> PeerStatus:
        """How it is reached."""
        now = self._shared.reactor.clock()
        link = self.link
        way = self.way()
        if link is None and way is Way.LINK:
            way = Way.NONE
        shown = self._hub() if way is Way.HUB else link
        return PeerStatus(
            node=self.node,
            route=Way.CLOUD if self.node == CLOUD and link is not None else way,
            address=shown.address if shown is not None else "",
            since=max(now - self.route.since, 0.0),
            streams=sum(len(each.mux.streams) for each in self.links()),
            round_trip_seconds=shown.attendance.round_trip_seconds if shown is not None else 0.0,
            problem=self.route.problem,
        )

    def way(self) -> Way:
        """How new streams go there now."""
        return self.route.choose(self._shared.reactor.now, hub=self._hub() is not None)

    # Its links.

    def links(self) -> list[Link]:
        """All there are, those too whose last streams are still to end."""
        return [*self._old] if self.link is None else [self.link, *self._old]

    def probe(self) -> None:
        """Try again to reach it directly, if somebody wants that and it is time."""
        now = self._shared.reactor.now
        wanted = self.route.is_wanted(now, self._shared.settings.link_idle_seconds)
        if wanted and self.link is None and self.route.is_dial_due(now, hub=True):
            self.dial()
        self.way()

    def dial(self) -> None:
        """Try to reach it directly, unless that is under way."""
        if self._race is not None:
            return
        self.route.dialled(self._shared.reactor.now)
        self._race = Race(
            self._shared,
            self,
            self.node,
            self.addresses,
            self._dialled_in_vain,
            server_name=self.server_name,
            keep=self.keep,
        )
        self._race.start()

    def _dial_again(self) -> None:
        self._retry = None
        if self.link is None and self._pending:
            self.dial()

    def moved(self, addresses: Sequence[Address]) -> None:
        """It has other addresses."""
        if addresses != self.addresses:
            self.addresses = addresses
            if self.link is None and self._race is None:
                self.route.left(self._shared.reactor.now)

    def gone(self, reason: str) -> None:
        """It is none of the mesh any more."""
        self.known = False
        self._stop_race()
        if self.link is not None:
            self.link.drain(reason)

    def end(self, reason: str) -> None:
        """End all that there is, and tell the other end that it is no failure."""
        self._stop_race()
        if self._retry is not None:
            self._retry.cancel()
        for link in self.links():
            link.drain(reason)
            link.end(reason)
        self._fail_pending(reason)

    def came_up(self, link: Link) -> None:
        """Use a link from now on, or not when there is a better one."""
        if self._race is not None and self._race.is_won(link):
            self._race = None
        old = self.link
        if old is not None and not self._is_better(link, old):
            self._retire(link)
            return
        self.link = link
        if old is not None:
            self._retire(old)
        self.route.came_up(self._shared.reactor.now)
        self._told = ""
        self.way()
        _log.info("link is up", node=self.node, address=link.address, dialled=link.dialler)
        pending, self._pending = self._pending, []
        for each in pending:
            self._go_on(each, link)

    def went_down(self, link: Link) -> None:
        """A link, or an attempt at one, is over."""
        if self._race is not None and self._race.has_failed(link):
            return
        if link in self._old:
            self._old.remove(link)
        if link is not self.link:
            return
        self.link = None
        now = self._shared.reactor.now
        if link.problem:
            self.route.lost(now, link.problem)
            _log.warning("link is lost", node=self.node, problem=link.problem)
        else:
            self.route.left(now)
        self.way()

    def changed(self, link: Link) -> None:
        """A link is doubted, or believed again, or takes no more streams."""
        if link is not self.link:
            return
        if link.mux.left:
            self.link = None
            self._old.append(link)
            self.route.left(self._shared.reactor.now)
        elif link.attendance.doubted:
            self.route.doubted("the link is up, but the node says nothing")
        else:
            self.route.believed()
        self.way()

    def wanted(self, link: Link, stream: Stream, opening: Opening) -> None:
        """The other end wants a stream."""
        self._takes.wanted(link, stream, opening)

    def _is_better(self, new: Link, old: Link) -> bool:
        """Whether to change links; both ends come to the same end.

        Who dials again has lost its link, whatever this end knows of it. When both have dialled at
        once, the link of the lesser name is kept.
        """
        if old.attendance.doubted or new.dialler is old.dialler:
            return True
        return new.dialler is (self._shared.node < self.node)

    def _retire(self, link: Link) -> None:
        self._old.append(link)
        link.drain("there is another link")
        if len(self._old) > _MOST_OLD_LINKS:
            self._old[0].end("too many links")

    def _stop_race(self) -> None:
        race, self._race = self._race, None
        if race is not None:
            race.stop()

    # Streams that wait.

    def _wait(self, opening: Opening, sock: VirtualSocket, *, has_hub: bool) -> None:
        pending = Pending(self, opening, sock)
        sock.far = pending
        self._pending.append(pending)
        if has_hub and self._patience is None:
            seconds = self._shared.settings.link_patience_seconds
            self._patience = self._shared.reactor.after(seconds, self, self._lose_patience)

    def _lose_patience(self) -> None:
        self._patience = None
        hub = self._hub()
        if not self._pending or hub is None:
            return
        if self.link is None:
            seconds = self._shared.settings.link_patience_seconds
            self.route.doubted(f"no link within {seconds:g} s")
            self.way()
        pending, self._pending = self._pending, []
        for each in pending:
            self._go_on(each, hub)

    def _dialled_in_vain(self) -> None:
        race, self._race = self._race, None
        problem = race.problem if race is not None else ""
        self.route.failed(self._shared.reactor.now, problem)
        if problem != self._told:
            self._told = problem
            _log.info("no link", node=self.node, problem=problem)
        self.way()
        hub = self._hub()
        if hub is None:
            self._fail_pending(problem)
            return
        pending, self._pending = self._pending, []
        for each in pending:
            self._go_on(each, hub)

    def _go_on(self, pending: Pending, link: Link) -> None:
        if not link.may_open or not _open(link, pending.opening, pending.sock):
            pending.sock.refused(errno.ENETUNREACH, f"{self.node} cannot be reached now")

    def _fail_pending(self, problem: str) -> None:
        pending, self._pending = self._pending, []
        for each in pending:
            each.sock.refused(errno.EHOSTUNREACH, problem)


def _open(link: Link, opening: Opening, sock: VirtualSocket) -> bool:
    try:
        sock.far = link.open(opening, sock)
    except ValueError as error:
        _log.warning("stream cannot be asked for", problem=str(error))
        return False
    if link.node != CLOUD:
        sock.way = Way.LINK
    else:
        sock.way = Way.CLOUD if opening.destination == CLOUD else Way.HUB
    return True
