"""The agent itself: its own rules, its own store, a log line for each flow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from bench import manifests
from bench.agent import Agent
from bench.subjects import Running, Site, at_service_addresses


@asynccontextmanager
async def edgemesh(
    site: Site, more_settings: str = "", policy: Mapping[str, Any] | None = None
) -> AsyncIterator[Running]:
    """Run an agent and apply the Services to it.

    Args:
        site: where.
        more_settings: TOML beyond the usual.
        policy: the spec of a TrafficPolicy for each Service, None for no policy.
    """
    agent = Agent(site.topology.node, site.directory, more_settings)
    manifest = site.directory / "services.yaml"
    objects = manifests.objects(site.services)
    if policy is not None:
        objects += [manifests.traffic_policy(service, policy) for service in site.services]
    manifests.write(manifest, objects)
    async with agent.running() as process:
        await agent.until_reachable(process)
        await agent.apply(manifest)
        yield at_service_addresses("edgemesh", site, process)
