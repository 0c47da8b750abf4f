"""The agent itself: its own rules, its own store, a log line for each flow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench import manifests
from bench.agent import Agent
from bench.subjects import Running, Site, at_service_addresses


@asynccontextmanager
async def edgemesh(site: Site, more_settings: str = "") -> AsyncIterator[Running]:
    """Run an agent, with settings beyond the usual, and apply the Services to it."""
    agent = Agent(site.topology.node, site.directory, more_settings)
    manifest = site.directory / "services.yaml"
    manifests.write(manifest, manifests.objects(site.services))
    async with agent.running() as process:
        await agent.until_reachable(process)
        await agent.apply(manifest)
        yield at_service_addresses("edgemesh", site, process)
