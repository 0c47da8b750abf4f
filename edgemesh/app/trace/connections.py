"""Hops that make connections: to each endpoint as the agent would, and the whole call."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

import trio

from edgemesh.app.trace.call import Call, Hop, HopState
from edgemesh.app.trace.knowledge import show_endpoint
from edgemesh.kernel.bpf.connect_given import given_endpoint
from edgemesh.kernel.sockets import COOKIE_BYTES, SO_COOKIE, dialling_socket
from edgemesh.model.errors import OperatorError
from edgemesh.model.policies import Path
from edgemesh.model.services import Endpoint, Transport
from edgemesh.model.trace import FlowAnswer, FlowQuestion
from edgemesh.wire.host_port import joined

# Of a Service with thousands of endpoints some tell enough.
_MOST_ENDPOINTS = 32
_LOOK_AGAIN_SECONDS = 0.02
_LAST_WORD_SECONDS = 0.5
_BY_OTHERS = "the agent leaves the call alone: does anybody else, such as kube-proxy, serve it?"


async def endpoint_hop(call: Call) -> Hop:
    """Whether the agent's host reaches the endpoints, past its own rules."""
    port = call.target
    if port is None or not port.endpoints:
        return Hop("endpoint", HopState.SKIPPED, "no endpoint to try")
    if port.transport != Transport.TCP:
        return Hop("endpoint", HopState.SKIPPED, "UDP tells nothing before the application does")
    if os.geteuid() != 0:
        return Hop("endpoint", HopState.SKIPPED, "only root can connect past the rules")
    ways = call.answer.ways if call.answer else {}
    tried = [each for each in port.endpoints if each.node not in ways][:_MOST_ENDPOINTS]
    if not tried:
        by_way = ", ".join(sorted(set(ways.values())))
        return Hop("endpoint", HopState.SKIPPED, f"reached by {by_way} only")
    problems: dict[Endpoint, str] = {}
    latencies: dict[Endpoint, float] = {}
    async with trio.open_nursery() as nursery:
        for endpoint in tried:
            nursery.start_soon(_try_endpoint, call, endpoint, latencies, problems)
    return _judge_endpoints(tried, latencies, problems)


async def call_hop(call: Call) -> Hop:
    """Connect as the caller would, and ask the agent where it led; nothing is sent."""
    port = call.answer.port if call.answer else None
    if port is None:
        return Hop("call", HopState.SKIPPED, "nothing to call")
    if port.transport != Transport.TCP:
        return Hop("call", HopState.SKIPPED, "UDP tells nothing before the application does")
    direct = None if port.address else _first_of_family(call, port.endpoints)
    address, number = (direct.address, direct.port) if direct else (call.address, port.port)
    if not address:
        return Hop("call", HopState.SKIPPED, f"no {call.family} address to call")
    try:
        sock = await call.caller.new_socket(socket.SOCK_STREAM, ipv6=":" in address)
    except OperatorError as error:
        return Hop("call", HopState.FAILED, error.problem, error.remedy)
    with sock:
        where = f"{joined(address, number)} from {call.caller}"
        try:
            seconds = await _connect(call, sock, (address, number))
        except OSError as error:
            problem = error.strerror or str(error)
            remedy = _BY_OTHERS if call.left_alone else "see the hops above"
            return Hop("call", HopState.FAILED, f"{where}: {problem}", remedy)
        told = f"{where}: connected in {seconds * 1000:.1f} ms"
        if direct and not _is_let_through_here(call, direct):
            return Hop("call", HopState.OK, f"{told}, past the agent: the Service is headless")
        if call.left_alone:
            return Hop("call", HopState.OK, f"{told}, past the agent, which leaves it alone")
        return await _follow(call, sock, told)


def _is_let_through_here(call: Call, endpoint: Endpoint) -> bool:
    """Whether this node intercepts calls of an endpoint; its own it lets pass."""
    answer = call.answer
    if answer is None or not answer.server or not call.caller.address:
        return False
    return bool(answer.node) and endpoint.node == answer.node


def _first_of_family(call: Call, endpoints: Sequence[Endpoint]) -> Endpoint | None:
    return next((each for each in endpoints if each.is_ipv6 is call.ipv6), None)


async def _connect(call: Call, sock: trio.socket.SocketType, address: tuple[str, int]) -> float:
    """Connect and return how long it took.

    Raises:
        OSError: it failed, or took longer than the agent would wait.
    """
    patience = call.agent.settings.proxy.connect_timeout_seconds
    started = trio.current_time()
    with trio.move_on_after(patience):
        await sock.connect(address)
        return trio.current_time() - started
    raise TimeoutError(f"no connection within {patience:g} s")


async def _try_endpoint(
    call: Call, endpoint: Endpoint, latencies: dict[Endpoint, float], problems: dict[Endpoint, str]
) -> None:
    mark = call.agent.settings.netfilter.own_mark
    try:
        sock = dialling_socket(endpoint.address, socket.SOCK_STREAM, mark)
        with trio.socket.from_stdlib_socket(sock) as connecting:
            address = (endpoint.address, endpoint.port)
            latencies[endpoint] = await _connect(call, connecting, address)
    except OSError as error:
        problems[endpoint] = error.strerror or str(error)


def _judge_endpoints(
    tried: Sequence[Endpoint], latencies: dict[Endpoint, float], problems: dict[Endpoint, str]
) -> Hop:
    told = ", ".join(
        f"{show_endpoint(endpoint)} {problems[endpoint]}"
        if endpoint in problems
        else f"{show_endpoint(endpoint)} {latencies[endpoint] * 1000:.1f} ms"
        for endpoint in tried
    )
    if not problems:
        return Hop("endpoint", HopState.OK, told)
    first = next(iter(problems))
    remedy = (
        f"does the application listen on port {first.port}, and is there a way to it: "
        f"ip route get {first.address}"
    )
    # The agent tries others, so only when none answers does the call fail.
    state = HopState.OK if latencies else HopState.FAILED
    return Hop("endpoint", state, told, remedy)


async def _follow(call: Call, sock: trio.socket.SocketType, told: str) -> Hop:
    """Ask the agent about the connection until it has an endpoint or is over.

    On the path of requests a connection has no endpoint of its own, and no request is sent.
    """
    proxy = call.agent.settings.proxy
    own_address = FlowQuestion(*sock.getsockname()[:2])
    with trio.move_on_after(proxy.connect_attempts * proxy.connect_timeout_seconds):
        while True:
            flow: FlowAnswer = await call.agent.ask("null/flow", FlowAnswer, own_address)
            if flow.path == Path.HTTP:
                way = f"the agent, which finds an endpoint for each request: path {flow.path}"
                return Hop("call", HopState.OK, f"{told} to {way}")
            if flow.endpoint is not None:
                by_way = f" by {flow.way}" if flow.way else ""
                way = f"{show_endpoint(flow.endpoint)}{by_way} over path {flow.path}"
                return Hop("call", HopState.OK, f"{told} to {way}")
            if not flow.known:
                return _led_by_the_kernel(call, sock, told) or await _judge_unknown(sock, told)
            await trio.sleep(_LOOK_AGAIN_SECONDS)
    remedy = "see the hop 'endpoint' and the agent's log"
    return Hop("call", HopState.FAILED, f"{told} to the agent, which finds no endpoint", remedy)


def _led_by_the_kernel(call: Call, sock: trio.socket.SocketType, told: str) -> Hop | None:
    """Where the kernel led the connection; None when it was left alone."""
    cookie = sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, COOKIE_BYTES)
    given = given_endpoint(call.agent.settings.bpf.directory, cookie)
    if given is None:
        return None
    known = call.target.endpoints if call.target else ()
    names = [show_endpoint(each) for each in known if (each.address, each.port) == given]
    where = names[0] if names else joined(*given)
    return Hop("call", HopState.OK, f"{told} to {where} over path {Path.CONNECT}")


async def _judge_unknown(sock: trio.socket.SocketType, told: str) -> Hop:
    """The agent has ended the connection already, or has never seen it."""
    try:
        with trio.move_on_after(_LAST_WORD_SECONDS):
            await sock.recv(1)
            return Hop("call", HopState.OK, f"{told}; the endpoint ended it at once")
    except ConnectionResetError:
        remedy = "see the hops 'decision' and 'endpoint', and the agent's log"
        return Hop("call", HopState.FAILED, f"{told} to the agent, which reset it", remedy)
    remedy = "edgemesh netfilter check: are the rules there, and does another tool take the call?"
    return Hop("call", HopState.FAILED, f"{told}, but past the agent", remedy)
