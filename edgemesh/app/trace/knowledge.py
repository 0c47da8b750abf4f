"""Hops that the agent settles: itself, the Service, its endpoints, the decision."""

from __future__ import annotations

from edgemesh.app.trace.call import Call, Hop, HopState
from edgemesh.model.flows import Refusal
from edgemesh.model.policies import Path
from edgemesh.model.services import Endpoint, Source
from edgemesh.wire.host_port import joined

_REMEDY_OF_REFUSAL = {
    Refusal.NO_ENDPOINT: "make a Pod ready that the Service's selector matches",
    Refusal.NO_BACKEND: "edgemesh get KIND NAME -o yaml: the conditions say what is missing",
    Refusal.NO_ROUTE: "no route of the Service matches such a request",
    Refusal.NO_SERVICE: "see the hop 'service'",
    Refusal.SELF_DESTINATION: "the Service's port is the agent's own: change proxy.tcp_port",
}


def agent_hop(call: Call) -> Hop:
    """Whether an agent answers."""
    where = call.agent.socket_path
    if call.answer is None:
        return Hop("agent", HopState.FAILED, call.problem, "start the agent: edgemesh run")
    return Hop("agent", HopState.OK, f"answers on {where}, revision {call.answer.revision}")


def service_hop(call: Call) -> Hop:
    """Whether the agent's data plane knows the Service and its port."""
    answer = call.answer
    name = f"{call.namespace}/{call.service}"
    if answer is None:
        return Hop("service", HopState.SKIPPED, "no agent to ask")
    if not answer.known:
        return Hop(
            "service",
            HopState.FAILED,
            f"{name} is unknown to the data plane",
            f"edgemesh get service {call.service} -n {call.namespace}; if there is none: "
            "edgemesh apply -f FILE",
        )
    if answer.external_name:
        detail = f"{name} is an alias of {answer.external_name}: the name alone leads there"
        return Hop("service", HopState.OK, detail)
    if answer.port is None:
        ports = ", ".join(map(str, answer.ports)) or "none"
        return Hop("service", HopState.FAILED, f"{name} has no such port", f"it has: {ports}")
    port = answer.port
    if port.address and not call.address:
        remedy = "call it by IPv4, or give it an IPv6 address too: spec.ipFamilyPolicy"
        return Hop("service", HopState.FAILED, f"{name} has no {call.family} address", remedy)
    kind = "headless" if answer.headless else f"{answer.type} {', '.join(answer.addresses)}"
    protocol = port.application_protocol or "protocol not declared"
    detail = f"{name}: {kind}, port {port.port}/{port.transport}, {protocol}"
    return Hop("service", HopState.OK, detail)


def endpoints_hop(call: Call) -> Hop:
    """Whether anything takes new connections."""
    port = call.target
    if port is None:
        return Hop("endpoints", HopState.SKIPPED, "no port to look at")
    if not port.endpoints:
        return Hop(
            "endpoints",
            HopState.FAILED,
            "none takes new connections",
            f"edgemesh get pods -n {call.namespace} -o wide: is one ready that the selector of "
            f"{call.service} matches?",
        )
    listed = ", ".join(map(show_endpoint, port.endpoints))
    return Hop("endpoints", HopState.OK, f"{len(port.endpoints)}: {listed}")


def decision_hop(call: Call) -> Hop:
    """What the agent would decide now."""
    answer = call.answer
    if answer is None or not call.address:
        return Hop("decision", HopState.SKIPPED, "no address that the agent would decide about")
    by_route = f" by {answer.route}" if answer.route else ""
    if answer.refusal:
        return Hop(
            "decision",
            HopState.FAILED,
            f"the call is refused: {answer.refusal}{by_route}",
            _REMEDY_OF_REFUSAL.get(Refusal(answer.refusal), "see edgemesh status"),
        )
    if not answer.candidates:
        return Hop("decision", HopState.OK, f"answered{by_route} itself; path {answer.path}")
    if answer.routes:
        return Hop(
            "decision",
            HopState.OK,
            f"each request is routed by itself, by {answer.routes} rules: --request 'GET /' tells "
            f"of one; path {answer.path}",
        )
    target = call.target
    assert target is not None
    first, *others = answer.candidates
    way = answer.ways.get(first.node, "")
    by_way = f" by {way}" if way else ""
    then = f", then {', '.join(map(show_endpoint, others))}" if others else ""
    # What is balanced when it connects has no other address than its own.
    own = target.source == Source.PRESERVE or answer.path == Path.CONNECT
    source = "its node's" if way else "the client's" if own else "the node's"
    return Hop(
        "decision",
        HopState.OK,
        f"{show_endpoint(first)} next{by_way}{then}{by_route}; {target.policy}, "
        f"path {answer.path}, it sees {source} address",
    )


def server_hop(call: Call) -> Hop:
    """Who limits what is let through to the endpoint."""
    answer = call.answer
    if answer is None:
        return Hop("server", HopState.SKIPPED, "no agent to ask")
    if not answer.server:
        return Hop("server", HopState.OK, "gets whatever calls there are")
    endpoints = answer.candidates or (call.target.endpoints if call.target else ())
    if not endpoints:
        return Hop("server", HopState.SKIPPED, "no endpoint to let calls through to")
    node = endpoints[0].node
    where = f"{show_endpoint(endpoints[0])} gets {answer.server}"
    if not node:
        detail = f"{where}, but nobody sees to it: no node is known to run it"
        return Hop("server", HopState.OK, detail)
    by = "this node" if node == answer.node else node
    return Hop("server", HopState.OK, f"{where}, whoever calls: {by} sees to it")


def show_endpoint(endpoint: Endpoint) -> str:
    """``10.1.0.1:8080 (default/web-1)``."""
    address = joined(endpoint.address, endpoint.port)
    return f"{address} ({endpoint.pod})" if endpoint.pod else address
