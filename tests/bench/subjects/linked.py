"""Two agents, each on the node of one end, that carry calls by link or by their cloud.

The cloud has the objects and sends them to both. Calls are intercepted on the client's node; the
endpoints run on the other, where calls come in by the link. A subject has to take the way that it
is named after from the first call to the last: another one would be another comparison.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import trio

from bench import manifests
from bench.agent import Agent
from bench.cloud import Cloud
from bench.processes import check_alive, finished
from bench.span import HUB_ADDRESS, Span
from bench.subjects import Running, Site
from edgemesh.app.ask import ask_agent
from edgemesh.model.errors import OperatorError
from edgemesh.model.peers import PeerStatus, Way
from edgemesh.model.settings import MetaSettings

_NEAR = "near"
_FAR = "far"
# Nodes enrol, and are told of each other.
_WAY_SECONDS = 60
_LOOK_AGAIN_SECONDS = 0.1
# A link is dialled for who calls.
_CALL = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()"


@dataclass(frozen=True, slots=True)
class _Node:
    agent: Agent
    process: trio.Process


@asynccontextmanager
async def linked(site: Site, way: Way) -> AsyncIterator[Running]:
    """Run a cloud and two agents, and apply the Services in the cloud.

    Args:
        site: where, a `Span`.
        way: that calls are to take.

    Raises:
        OperatorError: they take another.
    """
    names = site.topology
    assert isinstance(names, Span)
    cloud = Cloud(names.hub, HUB_ADDRESS, site.directory / "cloud")
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(cloud.running())
        manifest = site.directory / "services.yaml"
        manifests.write(manifest, manifests.objects(site.services, _FAR))
        await cloud.apply(manifest)
        near = await _node(stack, site, cloud, names.node, _NEAR)
        far = await _node(stack, site, cloud, names.far, _FAR)
        others = ((far.process, far.agent.log), (process, cloud.log))
        targets = {service.name: (service.address,) for service in site.services}
        running = Running("edgemesh", targets, near.process, near.agent.log, others)
        await _until_taken(site, near, running, way)
        begin = trio.current_time()
        yield running
        await _check_taken(near, way, trio.current_time() - begin)


async def _node(
    stack: AsyncExitStack, site: Site, cloud: Cloud, namespace: str, name: str
) -> _Node:
    directory = site.directory / name
    await trio.Path(directory).mkdir()
    agent = Agent(namespace, directory, await cloud.settings_of(name), node=name)
    process = await stack.enter_async_context(agent.running())
    await agent.until_reachable(process)
    return _Node(agent, process)


async def _until_taken(site: Site, near: _Node, running: Running, way: Way) -> None:
    """Call until calls take the way.

    Raises:
        OperatorError: they do not in time; with what stands against it.
    """
    host, port = site.services[0].address
    call = [sys.executable, "-c", _CALL, host, str(port)]
    peer: PeerStatus | None = None
    with trio.move_on_after(_WAY_SECONDS):
        while peer is None or peer.route is not way:
            running.check()
            check_alive(near.process, "the agent", near.agent.log)
            try:
                await finished(site.topology.client, call)
            except OperatorError:
                # Nobody has told the node of the Service yet.
                await trio.sleep(_LOOK_AGAIN_SECONDS)
            peer = await _far_end(near)
        return
    problem = "it knows no such node" if peer is None else peer.problem
    raise OperatorError(f"edgemesh does not go by {way}: {problem}")


async def _check_taken(near: _Node, way: Way, seconds: float) -> None:
    """Raise unless a way was taken for so long.

    Raises:
        OperatorError: it was not.
    """
    peer = await _far_end(near)
    if peer is None or peer.route is not way or peer.since < seconds:
        raise OperatorError(f"edgemesh has not gone by {way} all the time")


async def _far_end(near: _Node) -> PeerStatus | None:
    told = await ask_agent(near.agent.socket, MetaSettings(), "null/peers", list[PeerStatus])
    return next((peer for peer in told if peer.node == _FAR), None)
