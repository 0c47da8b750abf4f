"""Decide and dial: connect to the first endpoint that accepts, without ever blocking."""

from __future__ import annotations

import errno
import socket

from edgemesh.kernel.sockets import dialling_socket, is_own_address
from edgemesh.model.flows import Ending, Verdict
from edgemesh.model.services import Endpoint, Source
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.relay import relay
from edgemesh.proxy.reactor import OUT, Handler
from edgemesh.proxy.report import failure
from edgemesh.proxy.timers import Timer


def dial(flow: Flow) -> None:
    """Ask for the flow's verdict and carry it out."""
    verdict = flow.verdict = flow.context.decider.decide(flow.facts())
    if verdict.refusal is not None:
        flow.finish(Ending.REFUSED, verdict.refusal)
    else:
        _Dial(flow, verdict).attempt()


class _Dial:
    """The stage that tries the candidates one after the other.

    The client's socket is not looked at meanwhile: what it sends waits in the kernel, and its
    leaving is noticed by the first read of the next stage. The connect timeout bounds both.
    """

    __slots__ = ("_candidates", "_deadline", "_flow", "_problem", "_verdict")

    def __init__(self, flow: Flow, verdict: Verdict) -> None:
        self._flow = flow
        self._verdict = verdict
        self._candidates = iter(verdict.candidates)
        self._problem = 0
        self._deadline: Timer[Handler] | None = None
        flow.stage = self

    def attempt(self) -> None:
        """Try candidates until one is under way."""
        flow = self._flow
        reactor = flow.context.reactor
        for endpoint in self._candidates:
            flow.endpoint = endpoint
            flow.attempts += 1
            problem = self._connect(endpoint)
            if problem == errno.EINPROGRESS and flow.upstream is not None:
                seconds = flow.context.settings.connect_timeout_seconds
                self._deadline = reactor.after(seconds, self, self._expire)
                reactor.watch_newcomer(flow.upstream.fileno(), self, OUT)
                return
            if problem == 0:
                self._hand_over(endpoint)
                return
            self._give_up(problem)
        self._fail()

    def on_events(self, events: int) -> None:  # noqa: ARG002 - SO_ERROR tells more
        """See how the attempt went."""
        flow = self._flow
        self.stop()
        assert flow.upstream is not None
        assert flow.endpoint is not None
        problem = flow.upstream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem == 0:
            self._hand_over(flow.endpoint)
            return
        self._give_up(problem)
        self.attempt()

    def on_bug(self, error: Exception) -> None:
        """End the flow."""
        self._flow.finish(Ending.ERROR, type(error).__name__)

    def stop(self) -> None:
        """Forget the deadline."""
        if self._deadline is not None:
            self._deadline.cancel()

    def _connect(self, endpoint: Endpoint) -> int:
        """Start connecting; the errno that connect(2) gives, ELOOP when it would call us."""
        flow = self._flow
        context = flow.context
        client = flow.client_address[0]
        preserve = self._verdict.source is Source.PRESERVE and (":" in client) is endpoint.is_ipv6
        try:
            if endpoint.port == context.settings.tcp_port and is_own_address(endpoint.address):
                return errno.ELOOP
            flow.upstream = dialling_socket(
                endpoint.address,
                socket.SOCK_STREAM,
                context.own_mark,
                client if preserve else None,
            )
            return flow.upstream.connect_ex((endpoint.address, endpoint.port))
        except OSError as error:
            return error.errno or errno.EIO

    def _hand_over(self, endpoint: Endpoint) -> None:
        flow = self._flow
        flow.context.reports.connected(self._verdict, endpoint)
        relay(flow)

    def _give_up(self, problem: int) -> None:
        self._problem = problem
        flow = self._flow
        assert flow.endpoint is not None
        flow.context.reports.connect_failed(self._verdict, flow.endpoint)
        if flow.upstream is not None:
            flow.context.reactor.close(flow.upstream)
            flow.upstream = None

    def _expire(self) -> None:
        self._give_up(errno.ETIMEDOUT)
        self.attempt()

    def _fail(self) -> None:
        flow = self._flow
        timed_out = self._problem == errno.ETIMEDOUT
        assert flow.endpoint is not None
        flow.finish(
            Ending.CONNECT_TIMEOUT if timed_out else Ending.CONNECT_FAILED,
            failure(flow.endpoint, self._problem),
        )
