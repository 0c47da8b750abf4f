"""Streams that other ends of the mesh open to this one, and how they become flows and sessions."""

from __future__ import annotations

from collections import Counter

from edgemesh.kernel.sockets import Address
from edgemesh.model.flows import FlowFacts, Refusal
from edgemesh.model.services import Transport
from edgemesh.model.streams import InboundStream
from edgemesh.observe.log import get_logger
from edgemesh.policy.bus.refused import AT_A_LIMIT
from edgemesh.proxy.context import Context
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.datagram_stream import DatagramStream
from edgemesh.proxy.forward.session import Sessions
from edgemesh.proxy.resolve import resolve
from edgemesh.reactor.virtual import VirtualSocket
from edgemesh.wire.host_port import parse_host_port

_log = get_logger("streams")


class Entrance:
    """Where streams come in.

    Attributes:
        entered: streams that became flows or sessions, by the end that they came from.
        refused: those that did not, by the same.
    """

    def __init__(self, context: Context, sessions: Sessions) -> None:
        """Let streams in to ``context``; those of datagrams join ``sessions``."""
        self._context = context
        self._sessions = sessions
        self.entered: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._told: set[tuple[str, int]] = set()

    def enter(self, stream: VirtualSocket, wanted: InboundStream) -> None:
        """Make a flow or a session of a stream, or refuse it.

        Args:
            stream: neither accepted nor refused yet.
            wanted: what it is for.

        Ownership: the stream is closed here.
        """
        context = self._context
        refusal = context.decider.enter(wanted)
        if refusal is not None:
            self._refuse(stream, wanted, refusal.problem, refusal.reason, Refusal.NOT_ALLOWED)
        elif context.draining or len(context.flows) >= context.settings.max_connections:
            self._refuse(stream, wanted, AT_A_LIMIT, Refusal.LIMIT, Refusal.LIMIT)
        else:
            self.entered[wanted.from_node] += 1
            begin = self._begin_flow if wanted.transport is Transport.TCP else self._begin_session
            begin(stream, wanted)

    def _begin_flow(self, stream: VirtualSocket, wanted: InboundStream) -> None:
        resolve(Flow(self._context, stream, wanted.client, self._destination(wanted), wanted))

    def _begin_session(self, stream: VirtualSocket, wanted: InboundStream) -> None:
        facts = FlowFacts(Transport.UDP, wanted.client, self._destination(wanted), stream=wanted)
        verdict = self._context.decider.decide(facts)
        if verdict.refusal is not None:
            self._refuse(stream, wanted, AT_A_LIMIT, verdict.refusal, verdict.refusal)
        else:
            DatagramStream(self._context, self._sessions, stream).start(facts, verdict)

    def _refuse(
        self,
        stream: VirtualSocket,
        wanted: InboundStream,
        problem: int,
        reason: str,
        counted: Refusal,
    ) -> None:
        self.refused[wanted.from_node] += 1
        self._context.reports.turned_away(wanted.transport, counted)
        if (wanted.from_node, problem) not in self._told:
            self._told.add((wanted.from_node, problem))
            _log.warning("a stream is refused", from_node=wanted.from_node, reason=reason)
        stream.refuse(problem, reason)

    def _destination(self, wanted: InboundStream) -> Address:
        """What was called, for reports, and for the family of the addresses to go to."""
        if wanted.endpoint:
            return parse_host_port(wanted.endpoint)
        namespace, name, _, port = wanted.port
        service = self._context.decider.snapshot.services.get((namespace, name))
        addresses = service.addresses if service else ()
        return (addresses[0] if addresses else wanted.client[0]), port
