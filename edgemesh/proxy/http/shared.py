"""What all HTTP connections of a data plane share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edgemesh.model.requests import RequestReport
from edgemesh.model.settings import HttpSettings, ProxySettings
from edgemesh.proxy.decide import Decider
from edgemesh.proxy.http.plans import Plans
from edgemesh.proxy.http1.pool import Pool
from edgemesh.reactor.reactor import Handler, Reactor
from edgemesh.wire.http1.reader import HeadReader


class RequestLog(Protocol):
    """Takes reports of requests, as `observe.access_log.AccessLog` does."""

    def wants(self, *, failed: bool = False) -> bool:
        """Whether the request that is over now should be written."""
        ...

    def write(self, report: RequestReport) -> None:
        """Take a report; never waits, never fails."""
        ...


class NoRequestLog:
    """Takes none."""

    def wants(self, *, failed: bool = False) -> bool:  # noqa: ARG002 - what nobody reads
        """No."""
        return False

    def write(self, report: RequestReport) -> None:
        """Nothing is written."""


class Drainable(Handler, Protocol):
    """A client's connection."""

    def drain(self) -> None:
        """Serve what has come, and let the client know that this is the end."""
        ...


class HttpShared:
    """Of the ``http`` path.

    Attributes:
        settings: limits and deadlines.
        plans: of the ports that are called.
        heads: reads heads of HTTP/1, and remembers them.
        pool: connections of HTTP/1 to endpoints.
        connections: of clients that are open.
        log: of requests.
        random: gives a number in [0, 1).
    """

    def __init__(
        self,
        settings: HttpSettings,
        proxy: ProxySettings,
        reactor: Reactor,
        decider: Decider,
        *,
        log: RequestLog,
        random: Callable[[], float],
    ) -> None:
        """Put the parts together; arguments as in `Context`."""
        self.settings = settings
        self.plans = Plans(decider.traffic, settings, proxy)
        self.heads = HeadReader(settings)
        self.pool = Pool(reactor, settings)
        self.connections: set[Drainable] = set()
        self.log = log
        self.random = random
