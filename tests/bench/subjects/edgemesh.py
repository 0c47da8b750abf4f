"""The agent itself: its own rules, its own store, a log line for each flow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench import manifests
from bench.agent import Agent
from bench.subjects import Running, Site, at_service_addresses


@asynccontextmanager
async def edgemesh(site: Site) -> AsyncIterator[Running]:
    """Run an agent and apply the Services to it."""
    agent = Agent(site.topology.node, site.directory)
    manifest = site.directory / "services.yaml"
    manifests.write(manifest, manifests.objects(site.services))
    async with agent.running() as process:
        await agent.until_reachable(process)
        await agent.apply(manifest)
        yield at_service_addresses("edgemesh", site, process)
