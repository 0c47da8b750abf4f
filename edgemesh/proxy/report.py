"""Report: exactly one record per flow, and the counts that add them up."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Mapping

from edgemesh.model.flows import Ending, FlowFacts, FlowReport, Mover, Refusal
from edgemesh.model.meters import Meter
from edgemesh.model.policies import Path
from edgemesh.model.services import Endpoint, ServicePort, Snapshot, Transport
from edgemesh.model.streams import CLOUD, InboundStream
from edgemesh.observe.log import get_logger
from edgemesh.observe.metrics.metrics import Metrics
from edgemesh.policy.traffic.events import Event, EventKind
from edgemesh.policy.verdict import Verdict
from edgemesh.wire.host_port import joined

_log = get_logger("breaker")


def failure(endpoint: Endpoint, problem: int, reason: str = "") -> str:
    """Which endpoint does not take flows, and why, for operators.

    Args:
        endpoint: that was tried.
        problem: an errno.
        reason: what the other end of the mesh has said, "" for nothing.
    """
    if reason:
        why = f"{'cloud' if endpoint.node == CLOUD else endpoint.node}: {reason}"
    else:
        why = "this is edgemesh's own listener" if problem == errno.ELOOP else os.strerror(problem)
    return f"{joined(endpoint.address, endpoint.port)}: {why}"


def pod_name(snapshot: Snapshot, client: str, stream: InboundStream | None) -> str:
    """Who has called, ``namespace/name``, "" when it is no Pod.

    Args:
        snapshot: what is known about Pods.
        client: its address.
        stream: that its call has come by: then it is the caller's workload, as the other end says.
    """
    if stream is not None:
        return stream.workload
    pod = snapshot.pods.get(client)
    return f"{pod.namespace}/{pod.name}" if pod else ""


def named_way(way: str, endpoint: Endpoint | None) -> str:
    """``link to node-b``, ``cloud``; "" for a call that did not go by the bus."""
    if not way or endpoint is None or endpoint.node == CLOUD:
        return way
    return f"{way} to {endpoint.node}"


def _path(verdict: Verdict | None, movers: tuple[Mover, ...]) -> str:
    """The path that a flow has taken: one that was to be relayed may have been promoted."""
    if verdict is None:
        return ""
    promoted = verdict.path == Path.RELAY and any(mover is not Mover.RELAY for mover in movers)
    return Path.SPLICE if promoted else verdict.path


class Reports:
    """Counts flows and hands their records to ``write``.

    Attributes:
        opened: flows that were begun, by transport.
        open: flows that are not over yet, by transport.
        endings: flows that are over, by why.
        dropped_datagrams: those that a quota held back.
        refused_requests: those that edgemesh answered itself, for no endpoint did.
    """

    def __init__(self, write: Callable[[FlowReport], None], metrics: Metrics) -> None:
        """Start with all counts at zero.

        Args:
            write: takes each flow's report.
            metrics: where refusals are counted, and what endpoints do.
        """
        self._write = write
        self._metrics = metrics
        self.opened: Counter[Transport] = Counter()
        self.open: Counter[Transport] = Counter()
        self.endings: Counter[str] = Counter()
        self.dropped_datagrams = 0
        self.refused_requests = 0

    def begin(self, transport: Transport) -> None:
        """Count a flow that has come."""
        self.opened[transport] += 1
        self.open[transport] += 1

    def turned_away(self, transport: Transport, refusal: Refusal) -> None:
        """Count a flow that was refused before anything was known about it."""
        self.opened[transport] += 1
        self.endings[Ending.REFUSED] += 1
        self._metrics.refusals.count(None, refusal)

    def count_unseen(self, transport: Transport, begun: int, endings: Mapping[Ending, int]) -> None:
        """Count flows that never come here, of which there is no record.

        Args:
            transport: theirs.
            begun: how many more than the last time.
            endings: how many more are over, by why.
        """
        self.opened[transport] += begun
        self.open[transport] += begun - sum(endings.values())
        self.endings.update({ending: count for ending, count in endings.items() if count})

    def refused_request(self, port: ServicePort | None, refusal: Refusal) -> None:
        """Count a request that no endpoint has answered; its connection may go on."""
        self.refused_requests += 1
        self._metrics.refusals.count(port, refusal)

    def connected(self, verdict: Verdict, endpoint: Endpoint) -> None:
        """Count a connection to an endpoint, or a UDP session."""
        meter = self._meter(verdict, endpoint, verdict.path)
        if meter is not None:
            meter.connections += 1

    def connect_failed(self, verdict: Verdict, endpoint: Endpoint) -> None:
        """Count an attempt to connect that was refused or timed out."""
        meter = self._meter(verdict, endpoint, verdict.path)
        if meter is not None:
            meter.connect_failures += 1

    def dropped(self, port: ServicePort, refusal: Refusal) -> None:
        """Count a datagram that was not passed on; its session goes on."""
        self.dropped_datagrams += 1
        self._metrics.refusals.count(port, refusal)

    def breaker_turned(self, event: Event, path: Path) -> None:
        """Log that an endpoint was ejected or came back, and count it."""
        _log.warning(
            f"endpoint {event.kind}",
            service=str(event.port),
            subset=event.subset,
            endpoint=joined(event.endpoint.address, event.endpoint.port),
            reason=event.reason,
            seconds=event.seconds,
            ejections=event.ejections,
        )
        if event.kind is EventKind.EJECTED:
            self._metrics.meters.meter(event.port, event.endpoint, path).ejections += 1

    def end(
        self,
        snapshot: Snapshot,
        facts: FlowFacts,
        verdict: Verdict | None,
        endpoint: Endpoint | None,
        *,
        movers: tuple[Mover, ...] = (),
        requests: int = 0,
        refused_requests: int = 0,
        unobserved: str = "",
        way: str = "",
        attempts: int,
        bytes_sent: int,
        bytes_received: int,
        duration: float,
        ending: Ending,
        reason: str,
    ) -> None:
        """Count and record a flow that is over; ``duration`` in seconds.

        Its bytes count for the path that it has taken, as its record says. It was connected
        before that was known.
        """
        path = _path(verdict, movers)
        self.open[facts.transport] -= 1
        self.endings[ending] += 1
        if ending is Ending.REFUSED:
            self._metrics.refusals.count(verdict.port if verdict else None, reason)
        elif verdict is not None and endpoint is not None:
            meter = self._meter(verdict, endpoint, path)
            if meter is not None:
                meter.bytes_sent += bytes_sent
                meter.bytes_received += bytes_received
                meter.resets += ending is Ending.ENDPOINT_RESET
        stream = facts.stream
        self._write(
            FlowReport(
                transport=facts.transport,
                client=joined(*facts.client),
                client_pod=pod_name(snapshot, facts.client[0], stream),
                destination=joined(*facts.destination),
                service=str(verdict.port) if verdict and verdict.port else "",
                route=verdict.route if verdict else "",
                endpoint=joined(endpoint.address, endpoint.port) if endpoint else "",
                endpoint_pod=endpoint.pod if endpoint else "",
                path=path,
                movers=movers,
                application_protocol=facts.application_protocol,
                server_name=facts.server_name,
                alpn=facts.alpn,
                attempts=attempts,
                bytes_sent=bytes_sent,
                bytes_received=bytes_received,
                duration=round(duration, 6),
                ending=ending,
                reason=reason,
                requests=requests,
                refused_requests=refused_requests,
                unobserved=unobserved,
                way=named_way(way, endpoint),
                from_node=stream.from_node if stream else "",
            )
        )

    def _meter(self, verdict: Verdict, endpoint: Endpoint, path: str) -> Meter | None:
        """Where a flow is counted; None when that is done request by request."""
        port = verdict.target
        if port is None or path == Path.HTTP:
            return None
        return self._metrics.meters.meter(port, endpoint, path)
