"""What all HTTP/2 connections of a data plane share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgemesh.model.settings import Http2Settings, HttpSettings
from edgemesh.proxy.http2.pool import Pool
from edgemesh.proxy.reactor import Reactor
from edgemesh.wire.http2.header_reader import CacheBudget

if TYPE_CHECKING:
    from edgemesh.proxy.http2.client import ClientLink


class Http2Shared:
    """Of HTTP/2.

    Attributes:
        settings: limits.
        budget: of remembered header blocks.
        pool: connections to endpoints.
        clients: those that are connected.
    """

    def __init__(self, settings: Http2Settings, http: HttpSettings, reactor: Reactor) -> None:
        """Start without connections."""
        self.settings = settings
        self.budget = CacheBudget(settings.cache_bytes)
        self.pool = Pool(reactor, http, settings)
        self.clients: set[ClientLink] = set()

    def leave(self) -> None:
        """Ask all clients to open no more streams; each goes when its last one is over."""
        for client in list(self.clients):
            client.leave()

    # As the handler of that call.

    def on_events(self, events: int) -> None:
        """Nothing is watched."""

    def on_bug(self, error: Exception) -> None:
        """The reactor has counted it."""
