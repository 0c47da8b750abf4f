"""One TCP flow, from accept to report. Each stage holds it in turn and passes it on."""

from __future__ import annotations

from typing import Protocol

from edgemesh.kernel.sockets import Socket, fin_on_close
from edgemesh.model.flows import Ending, FlowFacts, Mover
from edgemesh.model.services import Endpoint, ServicePort, Transport
from edgemesh.model.streams import InboundStream
from edgemesh.policy.bus.refused import problem_of
from edgemesh.policy.verdict import Verdict, caller_key
from edgemesh.proxy.context import Context
from edgemesh.proxy.forward.attempt import Attempt
from edgemesh.reactor.virtual import VirtualSocket
from edgemesh.wire.sniff import Sniffed


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
        "alpn",
        "application_protocol",
        "attempt",
        "attempts",
        "bytes_received",
        "bytes_sent",
        "client",
        "client_address",
        "context",
        "destination",
        "endpoint",
        "movers",
        "refused_requests",
        "requests",
        "server_name",
        "stage",
        "started",
        "stream",
        "unobserved",
        "upstream",
        "verdict",
        "way",
    )

    def __init__(
        self,
        context: Context,
        client: Socket,
        client_address: tuple[str, int],
        destination: tuple[str, int],
        stream: InboundStream | None = None,
    ) -> None:
        """Begin a flow that was just accepted.

        Args:
            context: of the data plane.
            client: its socket.
            client_address: who calls.
            destination: what was called.
            stream: of another end of the mesh that is ``client``, None for none.
        """
        self.context = context
        self.client = client
        self.client_address = client_address
        self.destination = destination
        self.stream = stream
        self.started = context.reactor.now
        self.stage: Stage | None = None
        self.application_protocol = ""
        self.server_name = ""
        self.alpn: tuple[str, ...] = ()
        self.verdict: Verdict | None = None
        self.upstream: Socket | None = None
        self.endpoint: Endpoint | None = None
        self.way = ""
        self.attempt: Attempt | None = None
        self.attempts = 0
        self.requests = 0
        self.refused_requests = 0
        self.unobserved = ""
        self.movers: tuple[Mover, ...] = ()
        self.bytes_sent = 0
        self.bytes_received = 0
        context.flows.add(self)
        context.reports.begin(Transport.TCP)

    def facts(self) -> FlowFacts:
        """What a decision is made from."""
        return FlowFacts(
            Transport.TCP,
            self.client_address,
            self.destination,
            self.application_protocol,
            self.server_name,
            self.alpn,
            self.stream,
        )

    def called_port(self) -> ServicePort | None:
        """The Service port that is called, as it is now."""
        return self.context.decider.called_port(Transport.TCP, self.destination, self.stream)

    def caller(self) -> str:
        """Under which name quotas by source count it."""
        snapshot = self.context.decider.snapshot
        return caller_key(snapshot, self.client_address[0], self.stream)

    def take_client(self) -> None:
        """Somebody reads what the client sends from now on: tell it if it waits for that."""
        if isinstance(self.client, VirtualSocket):
            self.client.accept()

    @property
    def has_virtual_socket(self) -> bool:
        """Whether one of its two sockets is none of the kernel's."""
        upstream = self.upstream
        return self.client.fileno() < 0 or (upstream is not None and upstream.fileno() < 0)

    def held_by(self, stage: Stage) -> bool:
        """Whether a stage holds it still: what it has called may have ended the flow."""
        return self.stage is stage

    def learn(self, sniffed: Sniffed) -> None:
        """Take what the first bytes say."""
        self.application_protocol = sniffed.application_protocol
        self.server_name = sniffed.server_name
        self.alpn = sniffed.alpn

    def finish(self, ending: Ending, reason: str = "", *, reset: bool = True) -> None:
        """End the flow: close both sockets, with RST or FIN, and report it.

        A second call does nothing: a handler that fails after it has ended its flow is asked to
        end it again.
        """
        context = self.context
        if self not in context.flows:
            return
        if self.stage is not None:
            self.stage.stop()
            self.stage = None
        if self.attempt is not None:
            self.attempt.end_with(ending, self.bytes_sent)
        if isinstance(self.client, VirtualSocket) and self.client.connecting:
            self.client.refuse(problem_of(ending, reason), reason or ending)
        for sock in (self.client, self.upstream):
            if sock is not None:
                if not reset:
                    fin_on_close(sock)
                context.reactor.close(sock)
        context.forget(self)
        context.reports.end(
            context.decider.snapshot,
            self.facts(),
            self.verdict,
            self.endpoint,
            movers=self.movers,
            requests=self.requests,
            refused_requests=self.refused_requests,
            unobserved=self.unobserved,
            way=self.way,
            attempts=self.attempts,
            bytes_sent=self.bytes_sent,
            bytes_received=self.bytes_received,
            duration=context.reactor.now - self.started,
            ending=ending,
            reason=reason,
        )
