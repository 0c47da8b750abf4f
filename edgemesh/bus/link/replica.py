"""Another replica of the cloud, as this one passes streams on to it."""

from __future__ import annotations

import errno
from collections.abc import Callable

from edgemesh.bus.link.dialling import Race
from edgemesh.bus.link.link import Link
from edgemesh.bus.link.roles import Takes
from edgemesh.bus.link.shared import Shared
from edgemesh.bus.link.stream import Stream
from edgemesh.kernel.sockets import Address
from edgemesh.model.streams import CLOUD
from edgemesh.observe.log import get_logger
from edgemesh.wire.link.opening import Opening

_log = get_logger("links")

# What goes on when there is a link, and what is told when there is none.
Waiting = tuple[Callable[[Link], None], Callable[[int, str], None]]


class Replica:
    """A link that is dialled when somebody needs it. The owner of that link."""

    __slots__ = ("_address", "_host", "_link", "_race", "_shared", "_takes", "_waiting")

    def __init__(self, shared: Shared, host: str, address: Address, takes: Takes) -> None:
        """Dial nothing before `use`; ``host`` is what the replica's certificate is for."""
        self._shared = shared
        self._host = host
        self._address = address
        self._takes = takes
        self._link: Link | None = None
        self._race: Race | None = None
        self._waiting: list[Waiting] = []

    def use(self, go_on: Callable[[Link], None], refuse: Callable[[int, str], None]) -> None:
        """Call ``go_on`` with a link that takes a stream, or ``refuse`` with an errno and why."""
        link = self._link
        if link is not None and link.may_open:
            go_on(link)
            return
        self._waiting.append((go_on, refuse))
        if self._race is None:
            self._race = Race(
                self._shared,
                self,
                CLOUD,
                [self._address],
                self._dialled_in_vain,
                server_name=self._host,
                keep=False,
            )
            self._race.start()

    def end(self, reason: str) -> None:
        """End the link."""
        race, self._race = self._race, None
        if race is not None:
            race.stop()
        if self._link is not None:
            link = self._link
            link.drain(reason)
            link.end(reason)

    def came_up(self, link: Link) -> None:
        """Let those go on that have waited."""
        if self._race is not None and self._race.is_won(link):
            self._race = None
        self._link = link
        waiting, self._waiting = self._waiting, []
        for go_on, refuse in waiting:
            if link.may_open:
                go_on(link)
            else:
                refuse(errno.EAGAIN, "too many streams to another replica of the cloud")

    def went_down(self, link: Link) -> None:
        """The next stream dials again."""
        if self._race is not None and self._race.has_failed(link):
            return
        if link is self._link:
            self._link = None

    def changed(self, link: Link) -> None:
        """A link that takes no more streams is not used any more."""
        if link is self._link and link.mux.left:
            self._link = None

    def wanted(self, link: Link, stream: Stream, opening: Opening) -> None:
        """The other replica wants a stream."""
        self._takes.wanted(link, stream, opening)

    def _dialled_in_vain(self) -> None:
        race, self._race = self._race, None
        problem = race.problem if race is not None else ""
        _log.warning("replica of the cloud cannot be reached", problem=problem)
        waiting, self._waiting = self._waiting, []
        for _go_on, refuse in waiting:
            refuse(errno.EHOSTUNREACH, f"another replica of the cloud: {problem}")
