"""The transport server: the one place that lets calls through to the endpoints of this node.

Whatever way a call came by (an application of this node, another node, the cloud), it enters
here as an `InboundCall` before its endpoint is dialled or sent anything, and the policies that
the Service has for its servers apply: quota, number of calls at a time, queue. They count the
same whether the call was balanced here or came to the endpoint's own address, as those from
other nodes do (`policy.inbound`).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from edgemesh.model.flows import Refusal
from edgemesh.model.policies import QuotaScope
from edgemesh.model.services import Endpoint, ServicePort
from edgemesh.policy.traffic.server import ServerState
from edgemesh.proxy.decide import Decider
from edgemesh.reactor.reactor import Handler, Reactor
from edgemesh.reactor.timers import Timer


class CallKind(StrEnum):
    """What is to be let through."""

    REQUEST = "request"
    CONNECTION = "connection"
    DATAGRAM = "datagram"  # is over at once: neither waits nor counts as one at a time


class InboundCall(NamedTuple):
    """One call to an endpoint.

    Args:
        port: the Service port that was called.
        endpoint: that was chosen; calls to those of other nodes pass freely, they are let
            through there.
        source: the calling workload, for quotas by source.
        kind: see there.
        route: key of the route that was taken, for quotas by route; "" when there is none.
    """

    port: ServicePort
    endpoint: Endpoint
    source: str
    kind: CallKind
    route: str = ""


class Pass:
    """The answer to one call, and its place while it is under way.

    Attributes:
        refusal: None when the call was let through or waits.
        waits: whether it is queued; `TransportServer.admit` says how it hears of its turn.
        retry_after: seconds until a refused call might pass, 0.0 when nobody knows.
    """

    __slots__ = ("_deadline", "_state", "_wait", "refusal", "retry_after")

    def __init__(
        self,
        state: ServerState | None = None,
        refusal: Refusal | None = None,
        retry_after: float = 0.0,
    ) -> None:
        """A call that was let through, or refused; ``state`` is where it has to be released."""
        self._state = state
        self._wait: _Wait | None = None
        self._deadline: Timer[Handler] | None = None
        self.refusal = refusal
        self.retry_after = retry_after

    @property
    def waits(self) -> bool:
        """Whether the call is queued."""
        return self._deadline is not None

    def queue(self, wait: _Wait, seconds: float) -> None:
        """Wait for at most ``seconds``; `go_on` is what was queued."""
        self._wait = wait
        self._deadline = wait.reactor.after(seconds, wait.handler, self._expire)

    def go_on(self) -> None:
        """Its turn has come: say so at the end of the reactor's."""
        assert self._wait is not None
        self._stop_waiting()
        self._wait.reactor.soon(self._wait.handler, self._tell)

    def release(self) -> None:
        """The call is over, or is given up while it waits; a second time does nothing."""
        state, self._state = self._state, None
        if state is None:
            return
        if self.waits:
            self._stop_waiting()
            state.abandon(self.go_on)
            return
        next_go_on = state.release()
        if next_go_on is not None:
            next_go_on()

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        assert self._state is not None
        self._state.abandon(self.go_on)
        self._deadline = None
        self.refusal = Refusal.SERVER_OVERFLOW
        self._tell()
        self._state = None

    def _tell(self) -> None:
        wait, self._wait = self._wait, None
        # Released meanwhile: nobody waits for the answer.
        if self._state is not None and wait is not None:
            wait.decided(self.refusal)


class _Wait(NamedTuple):
    """Whom to tell of a decision."""

    reactor: Reactor
    handler: Handler
    decided: Callable[[Refusal | None], None]


# Of calls that nothing limits.
FREE = Pass()


class TransportServer:
    """See the module."""

    def __init__(self, reactor: Reactor, decider: Decider) -> None:
        """Limit by what ``decider`` goes by; ``reactor`` keeps the time of those who wait."""
        self._reactor = reactor
        self._decider = decider

    def admit(
        self,
        call: InboundCall,
        handler: Handler | None = None,
        decided: Callable[[Refusal | None], None] | None = None,
    ) -> Pass:
        """Let a call through, queue it or refuse it.

        Args:
            call: see there.
            handler: whose call it is; it is told when ``decided`` raises.
            decided: called once, from the reactor, for a call that waits: with None when it is
                let through, with the refusal when it has waited too long. Not called after
                `Pass.release`, which is due for every call that was not refused. Without it the
                call does not wait.
        """
        node = self._decider.snapshot.node
        if not node or call.endpoint.node != node:
            return FREE
        state = self._decider.traffic.server(call.port)
        if state is None:
            return FREE
        key = _bucket(call, state)
        now = self._reactor.now
        if call.kind is CallKind.DATAGRAM:
            seconds = state.take(key, now)
            return Pass(None, Refusal.SERVER_QUOTA, seconds) if seconds else FREE
        answer = Pass(state)
        if handler is None or decided is None:
            admission = state.admit(key, now)
        else:
            admission = state.admit(key, now, answer.go_on)
            if admission.queued:
                wait = _Wait(self._reactor, handler, decided)
                answer.queue(wait, state.limits.queue_timeout_seconds)
        if admission.refusal is not None:
            return Pass(None, admission.refusal, admission.retry_after)
        return answer

    def look_again(self) -> None:
        """Let those go on for whom a new snapshot has made room; not from within a handler."""
        for state in self._decider.traffic.servers():
            while (go_on := state.next_waiter()) is not None:
                go_on()
        self._reactor.settle()


def _bucket(call: InboundCall, state: ServerState) -> str:
    quota = state.limits.quota
    if quota is None or quota.scope is QuotaScope.SERVICE:
        return ""
    return call.source if quota.scope is QuotaScope.SOURCE else call.route
