"""No proxy: the client calls the endpoints themselves, in turn, through the routing node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.subjects import Running, Site


@asynccontextmanager
async def direct(site: Site) -> AsyncIterator[Running]:
    """Nothing is started."""
    targets = {service.name: service.endpoints for service in site.services}
    yield Running("direct", targets, None, site.log)
