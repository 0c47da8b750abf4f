"""What the agent tells about breakers: ``edgemesh get breakers``, and metrics of endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edgemesh.model.policies import Policy
from edgemesh.model.services import Endpoint, PortKey, ServicePort, Snapshot
from edgemesh.model.status import BreakerPhase, BreakerStatus, ServicesQuestion
from edgemesh.policy.traffic.breaker import Phase
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.traffic import Traffic
from edgemesh.policy.traffic.upstream import Upstream
from edgemesh.wire.host_port import joined

_PHASES = {
    Phase.CLOSED: BreakerPhase.CLOSED,
    Phase.HALF_OPEN: BreakerPhase.HALF_OPEN,
    Phase.OPEN: BreakerPhase.OPEN,
}


def breakers(
    snapshot: Snapshot, traffic: Traffic, now: float, question: ServicesQuestion
) -> Iterator[list[BreakerStatus]]:
    """Endpoints of Service ports that have a breaker or a health check; port by port.

    Args:
        snapshot: the one in force.
        traffic: what is remembered of the ports that were called.
        now: as the data plane's clock has it.
        question: which Services are asked for.
    """
    called: dict[PortKey, list[Upstream]] = {}
    for upstream in traffic.upstreams():
        called.setdefault(upstream.port.key, []).append(upstream)
    for key, port in snapshot.ports.items():
        if is_watched(port) and question.is_about(port.namespace, port.service):
            yield _of_port(port, called.get(key, ()), now)
        else:
            yield []


def is_watched(port: ServicePort) -> bool:
    """Whether endpoints of a port, or of a subset of it, may be taken out."""
    return _watches(port.policy) or any(_watches(one.policy) for one in port.subsets.values())


def phase_of(state: EndpointState) -> BreakerPhase:
    """Whether an endpoint takes calls, and who says so."""
    return _PHASES[state.breaker.phase] if state.probed_healthy else BreakerPhase.UNHEALTHY


def _watches(policy: Policy) -> bool:
    return policy.breaker is not None or policy.health_check is not None


def _of_port(port: ServicePort, upstreams: Iterable[Upstream], now: float) -> list[BreakerStatus]:
    states = {
        (state.endpoint.address, state.endpoint.port): state
        for upstream in upstreams
        for state in upstream.states()
    }
    return [
        _status(port, endpoint, states.get((endpoint.address, endpoint.port)), now)
        for endpoint in port.endpoints
    ]


def _status(
    port: ServicePort, endpoint: Endpoint, state: EndpointState | None, now: float
) -> BreakerStatus:
    where = joined(endpoint.address, endpoint.port)
    whose = (port.namespace, port.service, port.port, str(port.transport), where, endpoint.pod)
    if state is None:
        return BreakerStatus(*whose, BreakerPhase.CLOSED)
    view = state.breaker.view(now)
    return BreakerStatus(
        *whose,
        phase_of(state),
        reason=view.reason,
        failures_in_row=view.errors,
        ejections=view.ejections,
        open_seconds=round(view.seconds, 3),
        active=state.active,
        calls=state.calls,
        failures=state.failures,
    )
