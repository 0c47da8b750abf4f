"""Report: exactly one record per flow, and the counts that add them up."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable

from edgemesh.model.flows import Ending, FlowFacts, FlowReport, Refusal, Verdict
from edgemesh.model.services import Endpoint, Snapshot, Transport
from edgemesh.wire.host_port import joined


def failure(endpoint: Endpoint, problem: int) -> str:
    """Which endpoint does not take flows, and why, for operators; ``problem`` is an errno."""
    why = "this is edgemesh's own listener" if problem == errno.ELOOP else os.strerror(problem)
    return f"{joined(endpoint.address, endpoint.port)}: {why}"


class Reports:
    """Counts flows and hands their records to ``write``.

    Attributes:
        opened: flows that were begun, by transport.
        open: flows that are not over yet, by transport.
        endings: flows that are over, by why.
        refusals: those of them that were refused, by reason.
    """

    def __init__(self, write: Callable[[FlowReport], None]) -> None:
        """Start with all counts at zero."""
        self._write = write
        self.opened: Counter[Transport] = Counter()
        self.open: Counter[Transport] = Counter()
        self.endings: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()

    def begin(self, transport: Transport) -> None:
        """Count a flow that has come."""
        self.opened[transport] += 1
        self.open[transport] += 1

    def turned_away(self, transport: Transport, refusal: Refusal) -> None:
        """Count a flow that was refused before anything was known about it."""
        self.opened[transport] += 1
        self.endings[Ending.REFUSED] += 1
        self.refusals[refusal] += 1

    def end(
        self,
        snapshot: Snapshot,
        facts: FlowFacts,
        verdict: Verdict | None,
        endpoint: Endpoint | None,
        *,
        attempts: int,
        bytes_sent: int,
        bytes_received: int,
        duration: float,
        ending: Ending,
        reason: str,
    ) -> None:
        """Count and record a flow that is over; ``duration`` in seconds."""
        self.open[facts.transport] -= 1
        self.endings[ending] += 1
        if ending is Ending.REFUSED:
            self.refusals[reason] += 1
        pod = snapshot.pods.get(facts.client[0])
        self._write(
            FlowReport(
                transport=facts.transport,
                client=joined(*facts.client),
                client_pod=f"{pod.namespace}/{pod.name}" if pod else "",
                destination=joined(*facts.destination),
                service=str(verdict.port) if verdict and verdict.port else "",
                endpoint=joined(endpoint.address, endpoint.port) if endpoint else "",
                endpoint_pod=endpoint.pod if endpoint else "",
                path=verdict.path if verdict else "",
                application_protocol=facts.application_protocol,
                server_name=facts.server_name,
                attempts=attempts,
                bytes_sent=bytes_sent,
                bytes_received=bytes_received,
                duration=round(duration, 6),
                ending=ending,
                reason=reason,
            )
        )
