"""The agent itself: its own rules, its own store, a log line for each flow that it carries.

A policy for its Services may ask for a path. Then the agent has to take it from the start, and has
to tell in the end that it did: what went another way would be another comparison.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from bench import manifests
from bench.agent import Agent
from bench.processes import check_alive, finished
from bench.subjects import Running, Site, at_service_addresses
from edgemesh.app.ask import ask_agent
from edgemesh.model.errors import OperatorError
from edgemesh.model.paths import PathStatus
from edgemesh.model.settings import MetaSettings
from edgemesh.model.status import AgentStatus, ServicesQuestion

_METRICS = "http://127.0.0.1:15020/metrics"
# Programs are compiled and tested meanwhile.
_PATH_SECONDS = 60
_TOLD_SECONDS = 5
_LOOK_AGAIN_SECONDS = 0.1
_REPORTED = re.compile(r'"event":"flow",.*"service":"[^"/]*/([^":]*):')
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@asynccontextmanager
async def edgemesh(
    site: Site,
    more_settings: str = "",
    policy: Mapping[str, Any] | None = None,
    *,
    with_bpf: bool = False,
    install: str = "always",
) -> AsyncIterator[Running]:
    """Run an agent and apply the Services to it.

    Args:
        site: where.
        more_settings: TOML beyond the usual.
        policy: the spec of a TrafficPolicy for each Service, which names a path; None for no
            policy.
        with_bpf: whether the agent may use BPF.
        install: when rules are; with ``needed`` there are to be none.

    Raises:
        OperatorError: the path that was asked for was not taken.
    """
    client = site.topology.client if with_bpf else ""
    agent = Agent(site.topology.node, site.directory, more_settings, client, install)
    manifest = site.directory / "services.yaml"
    objects = manifests.objects(site.services)
    if policy is not None:
        objects += [manifests.traffic_policy(service, policy) for service in site.services]
    manifests.write(manifest, objects)
    async with agent.running() as process:
        await agent.until_reachable(process)
        await agent.apply(manifest)
        if policy is None:
            yield at_service_addresses("edgemesh", site, process)
            return
        await _until_chosen(agent, process, policy["path"])
        yield at_service_addresses("edgemesh", site, process)
        await _until_told(site, agent, policy["path"])


async def _until_chosen(agent: Agent, process: trio.Process, path: str) -> None:
    """Wait until a path works and all Services take it.

    Raises:
        OperatorError: with the agent's reason for another one.
    """
    limits = MetaSettings()
    reasons: list[str] = []
    with trio.move_on_after(_PATH_SECONDS):
        while True:
            check_alive(process, "the agent", agent.log)
            status = await ask_agent(agent.socket, limits, "null/status", AgentStatus)
            chosen = await ask_agent(
                agent.socket, limits, "null/paths", list[PathStatus], ServicesQuestion()
            )
            state = status.paths[path]
            reasons = [] if state == "available" else [state]
            reasons += [f"{one.service}: {one.reason}" for one in chosen if one.path != path]
            if agent.install == "needed" and status.interception.needed:
                reasons.append("rules are needed")
            if chosen and not reasons:
                return
            await trio.sleep(_LOOK_AGAIN_SECONDS)
    raise OperatorError(f"edgemesh does not take the path {path}: {'; '.join(reasons)}")


async def _until_told(site: Site, agent: Agent, path: str) -> None:
    """Wait until the agent tells of each Service that calls took a path; it does a while later.

    Raises:
        OperatorError: it does not.
    """
    missing: list[str] = []
    with trio.move_on_after(_TOLD_SECONDS):
        while True:
            told = await _services_over(site, agent, path)
            missing = [one.name for one in site.services if one.name not in told]
            if not missing:
                return
            await trio.sleep(_LOOK_AGAIN_SECONDS)
    raise OperatorError(f"edgemesh tells of no calls of {', '.join(missing)} over {path}")


async def _services_over(site: Site, agent: Agent, path: str) -> Collection[str]:
    """The Services that calls were made of over a path, and to each endpoint if it is ``http``.

    Reports tell of the connections that the agent carries: only in the end it is known who moved
    their bytes. Its metrics tell of requests, and of what the kernel balanced.
    """
    if path in {"relay", "splice"}:
        return reported_services(await trio.Path(agent.log).read_text(), path)
    kind = "requests" if path == "http" else "connections"
    metrics = await finished(site.topology.node, ["curl", "-sS", _METRICS])
    counted = counted_endpoints(metrics, kind, path)
    if path != "http":
        return counted
    of_all = {one.name: len(one.endpoints) for one in site.services}
    return [name for name, endpoints in counted.items() if len(endpoints) == of_all[name]]


def reported_services(log: str, path: str) -> Collection[str]:
    """The Services whose flows took a path.

    Args:
        log: of the agent.
        path: as reports tell it.
    """
    of_path = f'"path":"{path}"'
    found = (_REPORTED.search(line) for line in log.splitlines() if of_path in line)
    return {one[1] for one in found if one}


def counted_endpoints(metrics: str, kind: str, path: str) -> Mapping[str, set[str]]:
    """The endpoints whose requests or connections over a path were counted, by Service.

    Args:
        metrics: of the agent, as it tells them to Prometheus.
        kind: ``requests`` or ``connections``.
        path: that they took.
    """
    counted: dict[str, set[str]] = {}
    for line in metrics.splitlines():
        name, _, rest = line.partition("{")
        if name == f"edgemesh_{kind}_total" and not rest.endswith(" 0"):
            labels = dict(_LABEL.findall(rest))
            if labels["path"] == path:
                counted.setdefault(labels["service"], set()).add(labels["endpoint"])
    return counted
