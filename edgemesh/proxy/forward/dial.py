"""Decide and dial: connect to the first endpoint that accepts, without ever blocking."""

from __future__ import annotations

import errno

from edgemesh.model.flows import Ending, Refusal
from edgemesh.model.policies import Path
from edgemesh.model.services import Endpoint
from edgemesh.policy.deadlines import policy_or_setting
from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.policy.verdict import Verdict
from edgemesh.proxy.connecting import (
    Connecting,
    connecting_socket,
    connecting_stream,
    reason_of,
    source_address,
    taken_way,
)
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.attempt import Attempt, outcome_of_problem
from edgemesh.proxy.forward.relay import relay
from edgemesh.proxy.report import failure


def dial(flow: Flow) -> None:
    """Ask for the flow's verdict and carry it out."""
    verdict = flow.verdict = flow.context.decider.decide(flow.facts())
    if verdict.refusal is not None:
        flow.finish(Ending.REFUSED, verdict.refusal)
    else:
        _Dial(flow, verdict).attempt(verdict.candidates[0])


class _Dial:
    """The stage that tries endpoints one after the other.

    The client's socket is not looked at meanwhile: what it sends waits in the kernel, and its
    leaving is noticed by the first read of the next stage. The connect timeout bounds both.
    """

    __slots__ = ("_connecting", "_flow", "_problem", "_reason", "_tried", "_verdict")

    def __init__(self, flow: Flow, verdict: Verdict) -> None:
        self._flow = flow
        self._verdict = verdict
        self._tried: tuple[EndpointState, ...] = ()
        self._problem = 0
        self._reason = ""
        self._connecting: Connecting | None = None
        flow.stage = self

    def attempt(self, state: EndpointState | None) -> None:
        """Try endpoints, ``state`` first, until one is under way; None when none is left."""
        flow = self._flow
        while state is not None:
            flow.endpoint = state.endpoint
            flow.attempts += 1
            attempt = flow.attempt = Attempt(flow.context, self._verdict, state)
            refusal = attempt.enter(flow.caller(), self, self._admitted)
            if refusal is not None:
                flow.finish(Ending.REFUSED, refusal)
                return
            if attempt.waits or self._connect(state.endpoint):
                return
            state = self._other(attempt)
        self._fail()

    def on_events(self, events: int) -> None:
        """See how the attempt went."""
        assert self._connecting is not None
        self._connecting.look(events)

    def on_bug(self, error: Exception) -> None:
        """End the flow."""
        self._flow.finish(Ending.ERROR, type(error).__name__)

    def stop(self) -> None:
        """Forget the deadline."""
        if self._connecting is not None:
            self._connecting.stop()

    def _admitted(self, refusal: Refusal | None) -> None:
        """The transport server has decided about an attempt that waited."""
        flow = self._flow
        assert flow.endpoint is not None
        if refusal is not None:
            flow.finish(Ending.REFUSED, refusal)
        elif not self._connect(flow.endpoint):
            self._give_up()

    def _connect(self, endpoint: Endpoint) -> bool:
        """Start to connect; false when that has failed at once."""
        flow = self._flow
        context = flow.context
        self._reason = ""
        flow.way = way = context.way_to(endpoint)
        if way:
            target = self._verdict.target
            assert target is not None
            flow.upstream, self._problem = connecting_stream(
                context, target, endpoint, flow.client_address
            )
        else:
            source = ""
            if flow.stream is None:
                client = flow.client_address[0]
                source = source_address(client, endpoint, self._verdict.source)
            flow.upstream, self._problem = connecting_socket(context, endpoint, source)
        if flow.upstream is None:
            return False
        seconds = policy_or_setting(
            self._verdict.policy.timeouts.connect, context.settings.connect_timeout_seconds
        )
        self._connecting = Connecting(
            context, flow.upstream, seconds, self, self._connected, heeds_words=True
        )
        return True

    def _connected(self, problem: int) -> None:
        self._problem = problem
        flow = self._flow
        if problem:
            assert flow.upstream is not None
            self._reason = reason_of(flow.upstream)
            self._give_up()
            return
        assert flow.upstream is not None
        flow.way = taken_way(flow.upstream, flow.way)
        assert flow.endpoint is not None
        flow.context.reports.connected(self._verdict, flow.endpoint)
        flow.take_client()
        observe = flow.context.movers.observe
        splices = self._verdict.path == Path.SPLICE and not flow.has_virtual_socket
        if observe is not None and splices:
            observe(flow)
        else:
            relay(flow)

    def _give_up(self) -> None:
        """The attempt has failed after a while: go on with the next."""
        assert self._flow.attempt is not None
        self.attempt(self._other(self._flow.attempt))

    def _other(self, failed: Attempt) -> EndpointState | None:
        """Let go of an attempt that has failed; the endpoint to try next, None for no more."""
        flow = self._flow
        context = flow.context
        context.reports.connect_failed(self._verdict, failed.state.endpoint)
        failed.end(outcome_of_problem(self._problem))
        flow.attempt = None
        if flow.upstream is not None:
            context.reactor.close(flow.upstream)
            flow.upstream = None
        self._tried += (failed.state,)
        if flow.attempts >= context.settings.connect_attempts:
            return None
        upstream = self._verdict.upstream
        assert upstream is not None
        other = upstream.choose_connection(self._verdict.call, context.reactor.now, self._tried)
        return other if isinstance(other, EndpointState) and other not in self._tried else None

    def _fail(self) -> None:
        flow = self._flow
        timed_out = self._problem == errno.ETIMEDOUT
        assert flow.endpoint is not None
        flow.finish(
            Ending.CONNECT_TIMEOUT if timed_out else Ending.CONNECT_FAILED,
            failure(flow.endpoint, self._problem, self._reason),
        )
