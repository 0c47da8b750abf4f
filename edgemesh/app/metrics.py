"""Metrics of the agent as a whole: what its parts count by themselves, gathered for Prometheus."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

from edgemesh import __version__
from edgemesh.app.breakers import is_watched, phase_of
from edgemesh.model.services import Snapshot
from edgemesh.model.status import BreakerPhase
from edgemesh.observe.metrics.exposition import Family, FamilyType, counter, gauge, labels, sample
from edgemesh.observe.metrics.meters import endpoint_labels
from edgemesh.observe.sink import LineSink
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.traffic.traffic import Traffic
from edgemesh.policy.traffic.upstream import Upstream
from edgemesh.proxy.dns.counters import DnsCounters
from edgemesh.proxy.report import Reports
from edgemesh.reactor.reactor import Reactor

_BREAKER_VALUES: Final = {
    BreakerPhase.CLOSED: 0,
    BreakerPhase.HALF_OPEN: 1,
    BreakerPhase.OPEN: 2,
    BreakerPhase.UNHEALTHY: 3,
}

Word = TypeVar("Word", bound=str)

_Row = tuple[str, Upstream, EndpointState]


def build_family(node: str) -> Family:
    """Which edgemesh this is."""
    return gauge(
        "edgemesh_build_info",
        "1, labelled by version and node.",
        [(labels(version=__version__, node=node), 1)],
    )


def knowledge_families(stored_revision: int, snapshot: Snapshot) -> Iterator[Family]:
    """What is stored, and what the data plane goes by."""
    yield gauge("edgemesh_store_revision", "Revision of the store.", [("", stored_revision)])
    yield gauge(
        "edgemesh_snapshot_revision",
        "Revision of the store that the data plane goes by.",
        [("", snapshot.revision)],
    )
    yield gauge("edgemesh_services", "Services that are known.", [("", len(snapshot.services))])


def flow_families(reports: Reports) -> Iterator[Family]:
    """TCP connections and UDP sessions of clients."""
    yield counter(
        "edgemesh_flows_total",
        "Connections and UDP sessions of clients.",
        _labelled("transport", reports.opened),
    )
    yield gauge(
        "edgemesh_flows_open",
        "Connections and UDP sessions of clients that are open.",
        _labelled("transport", reports.open),
    )
    yield counter(
        "edgemesh_flow_endings_total",
        "Connections and UDP sessions of clients that are over, by why.",
        _labelled("ending", reports.endings),
    )


def reactor_families(reactor: Reactor) -> Iterator[Family]:
    """The data plane's loop."""
    yield counter(
        "edgemesh_reactor_turns_total",
        "Times that the reactor had something to do.",
        [("", reactor.turns)],
    )
    yield counter(
        "edgemesh_reactor_bugs_total",
        "Connections that were ended by a bug; the log has each.",
        [("", reactor.bugs)],
    )
    yield gauge(
        "edgemesh_reactor_sockets", "Sockets that the reactor watches.", [("", len(reactor))]
    )


def dns_family(counters: DnsCounters) -> Family:
    """The resolver."""
    return counter(
        "edgemesh_dns_questions_total",
        "Questions of DNS by what became of them; stale and failed ones were asked, too.",
        _labelled("result", dataclasses.asdict(counters)),
    )


def log_family(sink: LineSink) -> Family:
    """The log."""
    return counter(
        "edgemesh_log_lines_dropped_total",
        "Lines of the log that were lost, for nobody took them in time.",
        [("", sink.dropped)],
    )


def endpoint_families(traffic: Traffic, most: int) -> Iterator[Family]:
    """What is open at endpoints, and how their breakers stand.

    Args:
        traffic: what is remembered of the ports that were called.
        most: endpoints are told of; those that nothing can be said about do not count.
    """
    rows: list[_Row] = []
    active = "edgemesh_endpoint_active"
    yield Family(
        active,
        FamilyType.GAUGE,
        "Requests, or connections of other paths, that are open at an endpoint.",
        _gathered(active, traffic, most, rows),
    )
    yield gauge(
        "edgemesh_endpoint_connections",
        "Connections to an endpoint, idle ones included.",
        ((text, state.connections) for text, _, state in rows),
    )
    yield gauge(
        "edgemesh_endpoint_breaker",
        "0 while an endpoint takes its share, 1 when its breaker is half-open, 2 when it is "
        "open, 3 when health checks fail.",
        (
            (text, _BREAKER_VALUES[phase_of(state)])
            for text, upstream, state in rows
            if is_watched(upstream.port)
        ),
    )


def _gathered(name: str, traffic: Traffic, most: int, rows: list[_Row]) -> Iterator[str]:
    """Lines of the first family; what the others need is put into ``rows`` on the way."""
    seen: set[int] = set()
    for upstream in list(traffic.upstreams()):
        for state in upstream.states():
            # Subsets share the states of their port.
            if len(rows) == most or id(state) in seen or not _is_worth_telling(state):
                continue
            seen.add(id(state))
            text = endpoint_labels(upstream.port, state.endpoint)
            rows.append((text, upstream, state))
            yield sample(name, text, state.active)
        yield ""


def _is_worth_telling(state: EndpointState) -> bool:
    return bool(
        state.calls
        or state.active
        or state.connections
        or phase_of(state) is not BreakerPhase.CLOSED
    )


def _labelled(name: str, counts: Mapping[Word, int]) -> list[tuple[str, float]]:
    return [(labels(**{name: key}), count) for key, count in counts.items()]
