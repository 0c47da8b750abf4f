"""One TCP flow, from accept to report. Each stage holds it in turn and passes it on."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Protocol

from edgemesh.kernel.sockets import fin_on_close
from edgemesh.model.flows import Ending, FlowFacts, Verdict
from edgemesh.model.services import Endpoint, Transport

if TYPE_CHECKING:
    from edgemesh.proxy.plane import Plane


class Stage(Protocol):
    """Whoever holds the flow now."""

    def stop(self) -> None:
        """Let go: the flow is over and its sockets are about to be closed."""
        ...


class Flow:
    """What is known about a flow so far, and its two sockets.

    Ownership: the flow closes both sockets, in `finish`; stages only use them.
    """

    __slots__ = (
        "application_protocol",
        "attempts",
        "bytes_received",
        "bytes_sent",
        "client",
        "client_address",
        "destination",
        "endpoint",
        "plane",
        "server_name",
        "stage",
        "started",
        "upstream",
        "verdict",
    )

    def __init__(
        self,
        plane: Plane,
        client: socket.socket,
        client_address: tuple[str, int],
        destination: tuple[str, int],
    ) -> None:
        """Begin a flow that was just accepted."""
        self.plane = plane
        self.client = client
        self.client_address = client_address
        self.destination = destination
        self.started = plane.reactor.now
        self.stage: Stage | None = None
        self.application_protocol = ""
        self.server_name = ""
        self.verdict: Verdict | None = None
        self.upstream: socket.socket | None = None
        self.endpoint: Endpoint | None = None
        self.attempts = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        plane.flows.add(self)
        plane.reports.begin(Transport.TCP)

    def facts(self) -> FlowFacts:
        """What a decision is made from."""
        return FlowFacts(
            Transport.TCP,
            self.client_address,
            self.destination,
            self.application_protocol,
            self.server_name,
        )

    def finish(self, ending: Ending, reason: str = "", *, reset: bool = True) -> None:
        """End the flow: close both sockets, with RST or FIN, and report it.

        A second call does nothing: a handler that fails after it has ended its flow is asked to
        end it again.
        """
        plane = self.plane
        if self not in plane.flows:
            return
        if self.stage is not None:
            self.stage.stop()
            self.stage = None
        for sock in (self.client, self.upstream):
            if sock is not None:
                if not reset:
                    fin_on_close(sock)
                plane.reactor.close(sock)
        plane.forget(self)
        plane.reports.end(
            plane.decider.snapshot,
            self.facts(),
            self.verdict,
            self.endpoint,
            attempts=self.attempts,
            bytes_sent=self.bytes_sent,
            bytes_received=self.bytes_received,
            duration=plane.reactor.now - self.started,
            ending=ending,
            reason=reason,
        )
