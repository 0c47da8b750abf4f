"""A trace: its hops in the order in which a call takes them."""

from __future__ import annotations

from collections.abc import Sequence

from edgemesh.app.trace.call import (
    Agent,
    Call,
    Caller,
    Hop,
    HopState,
    find_addresses,
    parse_request,
    parse_service,
)
from edgemesh.app.trace.connections import call_hop, endpoint_hop
from edgemesh.app.trace.interception import listener_hop, route_hop, rule_hop
from edgemesh.app.trace.knowledge import (
    agent_hop,
    decision_hop,
    endpoints_hop,
    server_hop,
    service_hop,
)
from edgemesh.app.trace.name import name_hop
from edgemesh.model.errors import OperatorError
from edgemesh.model.trace import TraceAnswer, TraceQuestion


async def walk(
    agent: Agent,
    target: str,
    namespace: str,
    *,
    caller: str = "",
    ipv6: bool = False,
    server_name: str = "",
    request: str = "",
    headers: Sequence[str] = (),
) -> list[Hop]:
    """Look at every hop of a call; one that fails does not end the walk.

    Args:
        agent: of this node.
        target: ``web``, ``web:80`` or ``web.shop:80``.
        namespace: of the Service and of the Pod where they name none.
        caller: a Pod of this node, by name or address, "" for the node itself.
        ipv6: call by IPv6; else by IPv4, or by IPv6 where the Service has nothing else.
        server_name: that a TLS client would name, "" for none.
        request: ``GET /path``, "" for no certain one.
        headers: of the request, each as ``name: value``.

    Raises:
        OperatorError: the target or the request is none, or the Pod cannot be found.
    """
    service_namespace, service, port = parse_service(target, namespace)
    addresses = await find_addresses(agent, caller, namespace) if caller else [""]
    client = _of_family(addresses, ipv6=ipv6)
    asked = parse_request(request, headers, service)
    question = TraceQuestion(service_namespace, service, port, client, ipv6, server_name, asked)
    answer: TraceAnswer | None = None
    problem = ""
    try:
        answer = await agent.ask("null/trace", TraceAnswer, question)
    except OperatorError as error:
        problem = error.problem
    if answer and answer.port:
        ipv6 = ipv6 or ":" in answer.port.address
    client = _of_family(addresses, ipv6=ipv6)
    call = Call(agent, service_namespace, service, ipv6, Caller(client), answer, problem)
    return [
        agent_hop(call),
        await name_hop(call),
        service_hop(call),
        endpoints_hop(call),
        *await _through_the_agent(call),
        await endpoint_hop(call),
        await call_hop(call),
    ]


async def _through_the_agent(call: Call) -> list[Hop]:
    if call.left_alone:
        return [Hop("rule", HopState.SKIPPED, call.left_alone)]
    return [
        await rule_hop(call),
        await route_hop(call),
        listener_hop(call),
        decision_hop(call),
        server_hop(call),
    ]


def _of_family(addresses: Sequence[str], *, ipv6: bool) -> str:
    """The first of the family; else the first, which will fail where it tries to call."""
    return next((each for each in addresses if (":" in each) is ipv6), addresses[0])
