"""One request, from its head to its end, whatever version of HTTP carries it.

Theory of operation. The connection that carries the request (its *carrier*) makes an exchange
of it and tells it what happens; the exchange tells the carrier what to do, at once or later::

    begin ──► carrier.forward(endpoint)      routed, admitted, chosen: send it there
        └───► carrier.answer(answer)         refused or redirected; the exchange is over

    responded(status) ─► True                pass the response on; later: finish or broken
               └───────► False               drop it: forward or answer is called
    failed(reason) ─────► forward again, or answer
    cancelled()                              the client has left

Each try is counted once at its endpoint, by what became of it. Exactly one of answer, finish,
broken and cancelled ends the exchange.
"""

from __future__ import annotations

from edgemesh.model.flows import Refusal
from edgemesh.model.meters import Meter
from edgemesh.model.policies import Path, Retries, RetryOn
from edgemesh.model.routes import Backend, Route
from edgemesh.observe.metrics.failures import count_failure
from edgemesh.policy.outcomes import outcome_of
from edgemesh.policy.retry import may_repeat, pause_seconds, reason_of
from edgemesh.policy.routing.request import RequestFacts
from edgemesh.policy.traffic.calls import Call, Outcome
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.proxy.context import Context
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.http.answers import Answer, refuse
from edgemesh.proxy.http.carrier import Carrier
from edgemesh.proxy.http.entry import enter
from edgemesh.proxy.http.plans import PortPlan
from edgemesh.proxy.http.request_report import write_report
from edgemesh.proxy.transport_server import CallKind, InboundCall, Pass
from edgemesh.reactor.reactor import Handler
from edgemesh.reactor.timers import Timer

_OUTCOMES = {
    RetryOn.CONNECT_FAILURE: Outcome.CONNECT_FAILED,
    RetryOn.RESET: Outcome.RESET,
    RetryOn.TIMEOUT: Outcome.TIMEOUT,
    # The endpoint is well: it only takes no more on this connection.
    RetryOn.REFUSED_STREAM: Outcome.CANCELLED,
}
_SUCCESS = Outcome.SUCCESS
_FIRST_SERVER_ERROR = 500
# RFC 9110 section 9.2.2.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})


class Exchange:
    """One request.

    Attributes:
        flow: the client's connection.
        request: its head.
        protocol: as in RequestReport.
        plan: of the Service port that was called.
        target: of the port or subset that it goes to, by its route.
        route: the one that matched, None without routes; ``backend``: of it, None without.
        state: the endpoint of this try.
        begun, responded_at: when its head had come, when that of the response had.
        tries: that were made.
        deadline: when the whole request has to be over, ``try_deadline`` this try; on the
            reactor's clock, 0 for never. The carrier calls `expired` past it.
        status, grpc_status: of the response that is passed on, 0 and None before.
        call: what choosing an endpoint needs of it.
        refusal: of an answer of our own, None for others.
        turned_away: the response comes from the endpoint's node, for the endpoint is at its limit;
            to be set before `responded`.
        response_headers: to be added to the response.
        bytes_sent, bytes_received: of bodies, counted by the carrier.
    """

    __slots__ = (
        "_carrier",
        "_context",
        "_pass",
        "_pause",
        "_repeating",
        "_retries",
        "_tried",
        "_trying",
        "backend",
        "begun",
        "bytes_received",
        "bytes_sent",
        "call",
        "deadline",
        "flow",
        "grpc_status",
        "plan",
        "protocol",
        "refusal",
        "request",
        "responded_at",
        "response_headers",
        "route",
        "state",
        "status",
        "target",
        "tries",
        "try_began",
        "try_deadline",
        "turned_away",
    )

    def __init__(  # noqa: PLR0917 - keywords would cost a dictionary for every request
        self,
        context: Context,
        flow: Flow,
        carrier: Carrier,
        plan: PortPlan,
        call: Call,
        request: RequestFacts,
        protocol: str,
    ) -> None:
        """Take the head of a request; see `begin`.

        Args:
            context: of the data plane.
            flow: as above.
            carrier: what to tell what to do.
            plan: as above.
            call: as above.
            request: as above.
            protocol: as above.
        """
        self._context = context
        self._carrier = carrier
        self.call = call
        self.flow = flow
        self.request = request
        self.protocol = protocol
        self.plan = self.target = plan
        self.begun = self.try_began = context.reactor.now
        self.route: Route | None = None
        self.backend: Backend | None = None
        self.state: EndpointState | None = None
        self.responded_at = 0.0
        self.tries = 0
        self.deadline = self.try_deadline = 0.0
        self.status = 0
        self.grpc_status: int | None = None
        self.refusal: Refusal | None = None
        self.turned_away = False
        self.response_headers: tuple[tuple[str, str], ...] = ()
        self.bytes_sent = self.bytes_received = 0
        self._tried: tuple[EndpointState, ...] = ()
        self._trying = self._repeating = False
        self._pause: Timer[Handler] | None = None
        self._pass: Pass | None = None
        self._retries: Retries | None = None

    def begin(self) -> None:
        """Route, admit, choose; the carrier is told what to do before this returns, or later."""
        answer = enter(self, self._context)
        if answer is not None:
            self._answer(answer)
            return
        if self.target.policy.retries is not None:
            self._retries = self.target.policy.retries
        if self.route is not None and self.route.retries is not None:
            self._retries = self.route.retries
        self._try()

    # Tries.

    def _try(self) -> None:
        if self._pause is not None:
            self._pause = None
        target = self.target
        upstream = target.upstream
        now = self._context.reactor.now
        state = upstream.choose(self.call, now, self._tried)
        # Whether it is a Refusal would take longer to find out: that is an Enum.
        if not isinstance(state, EndpointState):
            self._refuse(state)
            return
        upstream.begin(state)
        self._trying = True
        self.state = state
        self.tries += 1
        self.try_began = now
        retries = self._retries
        if retries is not None and retries.per_try_seconds:
            self.try_deadline = now + retries.per_try_seconds
        if target.server is None or self._admit(state):
            self._carrier.forward(state)

    def _admit(self, state: EndpointState) -> bool:
        """Ask the transport server; false when the call waits or was refused."""
        route = self.route.key if self.route else ""
        source = self.flow.caller()
        call = InboundCall(self.target.port, state.endpoint, source, CallKind.REQUEST, route)
        admitted = self._pass = self._context.inbound.admit(call, self._carrier, self._decided)
        if admitted.refusal is not None:
            self._end_try(Outcome.CANCELLED)
            self._refuse(admitted.refusal, wait_seconds=admitted.retry_after)
            return False
        return not admitted.waits

    def _decided(self, refusal: Refusal | None) -> None:
        """The transport server has let a call that waited through, or has not."""
        assert self.state is not None
        if refusal is None:
            self._carrier.forward(self.state)
        else:
            self._end_try(Outcome.CANCELLED)
            self._refuse(refusal)

    def _end_try(self, outcome: Outcome) -> None:
        """Count what became of this try; nothing happens when it is counted already."""
        if not self._trying:
            return
        self._trying = False
        if self._pass is not None:
            self._pass.release()
            self._pass = None
        assert self.state is not None
        now = self._context.reactor.now
        upstream = self.target.upstream
        event = upstream.end(self.state, outcome, now - self.try_began, now)
        if event is not None:
            self._context.tell(event, Path.HTTP)
        if outcome is not Outcome.SUCCESS:
            count_failure(self._meter(self.state), outcome)
        if self._repeating:
            self._repeating = False
            upstream.retries -= 1

    def _repeat(self, reason: RetryOn, outcome: Outcome, *, untouched: bool) -> bool:
        """End this try and make another if rules, budget and deadline allow it."""
        retries = self._retries
        context = self._context
        state, upstream = self.state, self.target.upstream
        assert state is not None
        self._end_try(outcome)
        allowed = may_repeat(
            retries,
            reason,
            tries=self.tries,
            connect_attempts=context.settings.connect_attempts,
            idempotent=self.request.method in _IDEMPOTENT,
            untouched=untouched,
        )
        if not allowed or not self._carrier.can_repeat():
            return False
        # A budget keeps endpoints from being asked over and over; this one was not asked yet.
        if not untouched and not upstream.may_retry(retries):
            return False
        pause = pause_seconds(retries, self.tries, context.http.random())
        if self.deadline and context.reactor.now + pause >= self.deadline:
            return False
        if not untouched:
            upstream.retries += 1
            self._repeating = True
        self.turned_away = False
        self._tried += (state,)
        self._meter(state).retries += 1
        self.try_deadline = 0.0
        is_well = outcome is Outcome.CANCELLED
        if untouched and (is_well or len(self._tried) < len(upstream.states())):
            self._try()
        else:
            self._pause = context.reactor.after(pause, self._carrier, self._try)
        return True

    def _outcome_of(self, status: int, grpc_status: int | None) -> Outcome:
        return Outcome.CANCELLED if self.turned_away else outcome_of(status, grpc_status)

    # What the carrier tells.

    def responded(self, status: int, grpc_status: int | None = None) -> bool:
        """The head of a final response has come: true to pass it on, false to drop it.

        Args:
            status: of the response.
            grpc_status: when its head is all of it.
        """
        self.responded_at = self._context.reactor.now
        retries = self._retries
        if retries is not None and (
            status >= _FIRST_SERVER_ERROR or retries.statuses or grpc_status
        ):
            reason = reason_of(retries, status, grpc_status)
            outcome = self._outcome_of(status, None)
            if reason is not None and self._repeat(reason, outcome, untouched=False):
                return False
        self.status = status
        self.grpc_status = grpc_status
        return True

    def failed(
        self, reason: RetryOn, detail: str = "", *, untouched: bool = False, stale: bool = False
    ) -> None:
        """This try is of no use, and nothing of a response was passed on.

        Args:
            reason: what happened.
            detail: for people.
            untouched: whether the endpoint surely saw nothing of the request.
            stale: whether the connection may have been closed before the request came, which
                says nothing about the endpoint; what is idempotent is sent again then
                (RFC 9112 section 9.3.1).
        """
        outcome = _OUTCOMES[reason]
        if stale and self.request.method in _IDEMPOTENT:
            outcome, untouched = Outcome.CANCELLED, True
        if self._repeat(reason, outcome, untouched=untouched):
            return
        refusal = Refusal.TIMEOUT if reason is RetryOn.TIMEOUT else Refusal.ENDPOINT_FAILED
        self._refuse(refusal, detail)

    def expired(self) -> None:
        """A deadline has passed before the response's head had come."""
        over = self.deadline and self._context.reactor.now >= self.deadline
        if over:
            self._end_try(Outcome.TIMEOUT)
            self._stop_pause()
            self._refuse(Refusal.TIMEOUT)
        else:
            self.failed(RetryOn.TIMEOUT)

    def overflowed(self) -> None:
        """No connection is to be had, and too many requests wait for one."""
        self._end_try(Outcome.CANCELLED)
        self._refuse(Refusal.OVERFLOW)

    def finish(self) -> None:
        """The response has been passed on, all of it."""
        status = self.status
        if status < _FIRST_SERVER_ERROR and not self.grpc_status:
            self._end_try(_SUCCESS)
        else:
            self._end_try(self._outcome_of(status, self.grpc_status))
        self._over("")

    def broken(self, outcome: Outcome, reason: str) -> None:
        """The endpoint broke off in the middle of the response, or fell silent."""
        self._end_try(outcome)
        self._over(reason)

    def cancelled(self) -> None:
        """The client has left."""
        self._end_try(Outcome.CANCELLED)
        self._stop_pause()
        self._over("cancelled")

    # The end.

    def _refuse(self, refusal: Refusal, detail: str = "", wait_seconds: float = 0.0) -> None:
        self._answer(refuse(refusal, detail, wait_seconds))

    def _answer(self, answer: Answer) -> None:
        self.refusal = answer.refusal
        self.status = answer.status
        self._over(str(answer.refusal or ""))
        self._carrier.answer(answer)

    def _stop_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._repeating:
            self._repeating = False
            self.target.upstream.retries -= 1

    def _over(self, reason: str) -> None:
        """Count the request, and write it down if the log wants it."""
        http = self._context.http
        failed = self.status >= _FIRST_SERVER_ERROR or bool(reason)
        if self.refusal is not None:
            self._context.reports.refused_request(self.plan.port, self.refusal)
        elif self.state is not None:
            meter = self._meter(self.state)
            meter.observe(self.status, self._context.reactor.now - self.begun)
            meter.bytes_sent += self.bytes_sent
            meter.bytes_received += self.bytes_received
            if self.grpc_status is not None:
                meter.observe_grpc(self.grpc_status)
        if http.log.wants(failed=failed):
            write_report(self, self._context, reason)

    def _meter(self, state: EndpointState) -> Meter:
        return state.meter or self._context.metrics.meters.held(self.target.port, state, Path.HTTP)
