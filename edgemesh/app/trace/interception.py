"""Hops within this host's kernel: the rule, the policy route, the listener."""

from __future__ import annotations

import os
from contextlib import closing

import trio

from edgemesh.app.trace.call import Call, Hop, HopState
from edgemesh.kernel.netfilter import open_interception
from edgemesh.kernel.procnet import bound_sockets
from edgemesh.kernel.route_lookup import delivered_here
from edgemesh.model.errors import OperatorError
from edgemesh.model.services import ServiceAddress, Transport
from edgemesh.model.status import AgentStatus
from edgemesh.model.trace import TracedPort

_CHECK = "edgemesh netfilter check; the agent puts its rules right within seconds"

_NOT_NEEDED = "not needed: calls of every Service are balanced when sockets connect"


async def rule_hop(call: Call) -> Hop:
    """Whether the kernel intercepts the address."""
    port = _called(call)
    if port is None:
        return Hop("rule", HopState.SKIPPED, "no address to intercept")
    if not call.agent.settings.netfilter.enabled:
        return Hop("rule", HopState.SKIPPED, "netfilter.enabled is false")
    if os.geteuid() != 0:
        return Hop("rule", HopState.SKIPPED, "only root can read the rules")
    if not await _are_needed(call):
        return Hop("rule", HopState.SKIPPED, _NOT_NEEDED)
    return await trio.to_thread.run_sync(_look_at_rules, call, port)


async def route_hop(call: Call) -> Hop:
    """Whether a diverted packet is delivered on this host."""
    settings = call.agent.settings.netfilter
    if not call.address or not settings.enabled or settings.mode != "tproxy":
        return Hop("route", HopState.SKIPPED, "nothing is diverted by a policy route")
    if not await _are_needed(call):
        return Hop("route", HopState.SKIPPED, _NOT_NEEDED)
    mark, table = settings.divert_mark, settings.route_table
    if await trio.to_thread.run_sync(delivered_here, call.address, mark):
        return Hop("route", HopState.OK, f"mark {mark:#x} leads to table {table}: delivered here")
    return Hop(
        "route",
        HopState.FAILED,
        f"{call.address} with mark {mark:#x} is not delivered here: no rule leads to table {table}",
        _CHECK,
    )


def listener_hop(call: Call) -> Hop:
    """Whether the agent's listener is there."""
    port = _called(call)
    if port is None:
        return Hop("listener", HopState.SKIPPED, "no address to listen for")
    proxy = call.agent.settings.proxy
    if port.transport == Transport.TCP:
        number, bound = proxy.tcp_port, bound_sockets("tcp")
    else:
        number, bound = proxy.udp_port, bound_sockets("udp")
    if any(each.port == number for each in bound):
        return Hop("listener", HopState.OK, f"{port.transport} port {number}")
    return Hop(
        "listener",
        HopState.FAILED,
        f"nothing listens on {port.transport} port {number} in this network namespace",
        "run this on the node itself, with the agent's own --config",
    )


async def _are_needed(call: Call) -> bool:
    """Whether rules have to stand, as far as the agent tells."""
    agent = call.agent
    if agent.settings.netfilter.install == "always":
        return True
    try:
        status = await agent.ask("null/status", AgentStatus)
    except OperatorError:
        return True
    return bool(status.interception.needed)


def _called(call: Call) -> TracedPort | None:
    return call.answer.port if call.answer and call.address else None


def _look_at_rules(call: Call, port: TracedPort) -> Hop:
    settings = call.agent.settings
    try:
        with closing(
            open_interception(settings.netfilter, settings.proxy, owned=False)
        ) as interception:
            installed = interception.describe() is not None
            addresses = interception.addresses() if installed else frozenset()
    except OperatorError as error:
        return Hop("rule", HopState.FAILED, error.problem, error.remedy)
    wanted = ServiceAddress(port.address, Transport(port.transport), port.port)
    how = f"{settings.netfilter.backend} {settings.netfilter.mode}"
    if not installed:
        return Hop("rule", HopState.FAILED, f"{how}: nothing is installed", _CHECK)
    if wanted not in addresses:
        detail = f"{how}: {port.address} {port.transport} {port.port} is not intercepted"
        return Hop("rule", HopState.FAILED, detail, _CHECK)
    return Hop("rule", HopState.OK, f"{how}: {port.address} {port.transport} {port.port}")
