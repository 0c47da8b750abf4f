"""The agent itself: its own rules, its own store, a log line for each flow.

With a policy for its Services it has to balance them request by request, and its own metrics have
to say so in the end: connections that were merely relayed would be another comparison.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from bench import manifests
from bench.agent import Agent
from bench.processes import finished
from bench.subjects import Running, Site, at_service_addresses
from edgemesh.model.errors import OperatorError

_METRICS = "http://127.0.0.1:15020/metrics"
_REQUESTS = "edgemesh_requests_total{"


@asynccontextmanager
async def edgemesh(
    site: Site, more_settings: str = "", policy: Mapping[str, Any] | None = None
) -> AsyncIterator[Running]:
    """Run an agent and apply the Services to it.

    Args:
        site: where.
        more_settings: TOML beyond the usual.
        policy: the spec of a TrafficPolicy for each Service, None for no policy.

    Raises:
        OperatorError: there is a policy, and an endpoint got no request by itself.
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
        if policy is not None:
            _require_requests(site, await finished(site.topology.node, ["curl", "-sS", _METRICS]))


def _require_requests(site: Site, metrics: str) -> None:
    counted = [line for line in metrics.splitlines() if line.startswith(_REQUESTS)]
    for service in site.services:
        for host, port in service.endpoints:
            labels = (f'service="{service.name}"', f'endpoint="{host}:{port}"', 'path="http"')
            if not any(all(label in line for label in labels) for line in counted):
                raise OperatorError(f"edgemesh has counted no request of {service.name} at {host}")
