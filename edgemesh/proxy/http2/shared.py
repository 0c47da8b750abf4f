"""What all HTTP/2 connections of a data plane share."""

from __future__ import annotations

from edgemesh.model.settings import Http2Settings, HttpSettings
from edgemesh.proxy.http2.pool import Pool
from edgemesh.reactor.reactor import Reactor
from edgemesh.wire.http2.header_reader import CacheBudget


class Http2Shared:
    """Of HTTP/2.

    Attributes:
        settings: limits.
        budget: of remembered header blocks.
        pool: connections to endpoints.
    """

    def __init__(self, settings: Http2Settings, http: HttpSettings, reactor: Reactor) -> None:
        """Start without connections."""
        self.settings = settings
        self.budget = CacheBudget(settings.cache_bytes)
        self.pool = Pool(reactor, http, settings)
