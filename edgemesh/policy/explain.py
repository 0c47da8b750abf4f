"""What would become of a call to a Service, without making it."""

from __future__ import annotations

from collections.abc import Callable

from edgemesh.model.flows import FlowFacts
from edgemesh.model.paths import AvailablePaths
from edgemesh.model.policies import Path
from edgemesh.model.services import Service, ServicePort, Snapshot, Transport
from edgemesh.model.trace import TraceAnswer, TracedPort, TracedRequest, TraceQuestion
from edgemesh.policy.describe import describe_policy, describe_server
from edgemesh.policy.paths import choose_path
from edgemesh.policy.service_model import OTHER_PROXY_LABEL
from edgemesh.policy.verdict import Verdict


def explain_call(
    snapshot: Snapshot,
    question: TraceQuestion,
    preview: Callable[[FlowFacts, TracedRequest | None], Verdict],
    available: AvailablePaths,
) -> TraceAnswer:
    """Answer a trace.

    Args:
        snapshot: what the data plane goes by.
        question: which call is meant.
        preview: the verdict about a flow and a request on it, found without leaving a mark on
            balancing.
        available: paths that work on this node.
    """
    service = snapshot.services.get((question.namespace, question.service))
    if service is None:
        return TraceAnswer(snapshot.revision, known=False)
    port = _find(service, question.port)
    address = _address(service, ipv6=question.ipv6)
    verdict = Verdict(None)
    if port is not None and address:
        verdict = preview(_facts(question, port, address), question.request)
    target = verdict.target
    limited = target or port
    return TraceAnswer(
        snapshot.revision,
        known=True,
        type=service.type,
        headless=service.headless,
        external_name=service.external_name,
        addresses=service.addresses,
        ports=tuple(dict.fromkeys(each.port for each in service.ports)),
        port=_traced(port, address) if port else None,
        candidates=tuple(state.endpoint for state in verdict.candidates),
        path=_path(verdict, question, available),
        refusal=verdict.refusal or "",
        route=verdict.route,
        routes=_undecided_routes(verdict, question),
        target=_traced(target, "") if target and target is not port else None,
        node=snapshot.node,
        server=describe_server(limited.policy.server) if limited else "",
        left_alone=_why_left_alone(snapshot, question, port, address) if port and address else "",
    )


def _why_left_alone(
    snapshot: Snapshot, question: TraceQuestion, port: ServicePort, address: str
) -> str:
    """Why nobody leads the call to the agent, or balances it in its place."""
    index = snapshot.tcp if port.transport is Transport.TCP else snapshot.udp
    if (address, port.port) not in index:
        return f"label {OTHER_PROXY_LABEL} says that another proxy serves it"
    caller = snapshot.pods.get(question.client)
    if caller is not None and caller.left_alone:
        return f"Pod {caller.namespace}/{caller.name} is not intercepted: {caller.left_alone}"
    if caller is None and snapshot.callers.only_listed:
        return "only Pods are intercepted that opt in: proxy.intercept_default is disabled"
    return ""


def _path(verdict: Verdict, question: TraceQuestion, available: AvailablePaths) -> str:
    """The one that the call takes at best: what the agent would relay may never reach it."""
    if verdict.path != Path.RELAY:
        return verdict.path
    assert verdict.port is not None
    protocol = "tls" if question.server_name else verdict.port.application_protocol
    path, _ = choose_path(verdict.port, protocol, available)
    # A connection of an unknown protocol is no HTTP until it says so.
    return verdict.path if path is Path.HTTP else path


def _undecided_routes(verdict: Verdict, question: TraceQuestion) -> int:
    if verdict.port is None or verdict.path != Path.HTTP or question.request is not None:
        return 0
    return len({route.key for route in verdict.port.routes})


def _facts(question: TraceQuestion, port: ServicePort, address: str) -> FlowFacts:
    return FlowFacts(
        port.transport,
        (question.client or address, 0),
        (address, port.port),
        "tls" if question.server_name else "",
        question.server_name.lower(),
    )


def _find(service: Service, number: int) -> ServicePort | None:
    for port in service.ports:
        if number in {0, port.port}:
            return port
    return None


def _address(service: Service, *, ipv6: bool) -> str:
    """The address of the wanted family, else of the other one, else none."""
    addresses = sorted(service.addresses, key=lambda address: (":" in address) is not ipv6)
    return addresses[0] if addresses else ""


def _traced(port: ServicePort, address: str) -> TracedPort:
    return TracedPort(
        port=port.port,
        name=port.name,
        transport=port.transport,
        node_port=port.node_port,
        application_protocol=port.application_protocol,
        policy=describe_policy(port),
        source=port.source,
        address=address,
        endpoints=port.endpoints,
    )
