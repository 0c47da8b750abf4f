"""One endpoint that a flow goes to: what is counted of it, and what its breaker learns."""

from __future__ import annotations

import errno
from collections.abc import Callable

from edgemesh.model.flows import Ending, Refusal
from edgemesh.model.policies import Path
from edgemesh.model.services import ServicePort
from edgemesh.policy.bus.refused import AT_A_LIMIT
from edgemesh.policy.traffic.calls import Outcome
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.verdict import Verdict
from edgemesh.proxy.context import Context
from edgemesh.proxy.transport_server import FREE, CallKind, InboundCall
from edgemesh.reactor.reactor import Handler

# What keeps this node from connecting, whoever the endpoint is: it is not to blame.
_OUR_FAULTS = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EADDRINUSE,
        errno.EADDRNOTAVAIL,
        errno.EPERM,
        # The node of the endpoint lets no more through to it.
        AT_A_LIMIT,
    }
)
_OUTCOMES = {
    Ending.CLOSED: Outcome.SUCCESS,
    Ending.ENDPOINT_RESET: Outcome.RESET,
    Ending.IDLE_TIMEOUT: Outcome.TIMEOUT,
}


def outcome_of_problem(problem: int) -> Outcome:
    """What a failure to connect says of an endpoint; ``problem`` is an errno."""
    if problem in _OUR_FAULTS:
        return Outcome.CANCELLED
    return Outcome.TIMEOUT if problem == errno.ETIMEDOUT else Outcome.CONNECT_FAILED


class Attempt:
    """Begins with its making and is over with `end`; what it went to is counted meanwhile.

    Attributes:
        state: of the endpoint.
        heard: the endpoint has answered, so that it counts as well whatever follows.
    """

    __slots__ = ("_answer", "_began", "_context", "_over", "_verdict", "heard", "state")

    def __init__(self, context: Context, verdict: Verdict, state: EndpointState) -> None:
        """Count it as open."""
        assert verdict.upstream is not None
        verdict.upstream.begin(state)
        verdict.upstream.open_connection(state)
        self._context = context
        self._verdict = verdict
        self._began = context.reactor.now
        self._answer = FREE
        self._over = False
        self.state = state
        self.heard = False

    def enter(
        self, caller: str, handler: Handler, decided: Callable[[Refusal | None], None]
    ) -> Refusal | None:
        """Ask this node's transport server, in case the endpoint is here.

        Args:
            caller: see `caller_key`.
            handler: as `TransportServer.admit` has it.
            decided: as above.

        Returns:
            Why it may not go on. None when it may, or `waits`: ``decided`` is called then, as
            `TransportServer.admit` has it.
        """
        assert self._verdict.target is not None
        call = self._inbound_call(self._verdict.target, caller, CallKind.CONNECTION)
        self._answer = self._context.inbound.admit(call, handler, decided)
        return self._answer.refusal

    def enter_datagram(self, port: ServicePort, caller: str) -> Refusal | None:
        """Ask the same for one datagram, by what ``port`` says now; why it is dropped."""
        call = self._inbound_call(port, caller, CallKind.DATAGRAM)
        return self._context.inbound.admit(call).refusal

    def _inbound_call(self, port: ServicePort, caller: str, kind: CallKind) -> InboundCall:
        return InboundCall(port, self.state.endpoint, caller, kind, self._verdict.route)

    @property
    def waits(self) -> bool:
        """Whether it is queued at the transport server."""
        return self._answer.waits

    def hear(self) -> None:
        """The endpoint has answered."""
        self.heard = True
        self._note(Outcome.SUCCESS)

    def end(self, outcome: Outcome) -> None:
        """It is over; a second time does nothing.

        Args:
            outcome: of one that was not answered.
        """
        if self._over:
            return
        self._over = True
        if not self.heard:
            self._note(outcome)
        upstream = self._verdict.upstream
        assert upstream is not None
        upstream.close_connection(self.state)
        upstream.release(self.state, self._context.reactor.now - self._began)
        self._answer.release()

    def break_off(self, outcome: Outcome) -> None:
        """It is over since the endpoint has failed, whatever it answered before."""
        self.heard = False
        self.end(outcome)

    def end_with(self, ending: Ending, sent: int) -> None:
        """The flow is over and this attempt with it.

        Args:
            ending: of the flow.
            sent: bytes that the endpoint got: who was asked nothing owes no answer.
        """
        outcome = _OUTCOMES.get(ending, Outcome.CANCELLED)
        if outcome is Outcome.TIMEOUT and not sent:
            outcome = Outcome.CANCELLED
        self.end(outcome)

    def _note(self, outcome: Outcome) -> None:
        assert self._verdict.upstream is not None
        event = self._verdict.upstream.note(self.state, outcome, self._context.reactor.now)
        if event is not None:
            self._context.tell(event, Path.RELAY)
