"""Resolve: which protocol a connection speaks, before or while it is forwarded.

What the Service declares is taken as it is. Where nothing is declared and nothing depends on
it, the flow goes on at once and the first bytes that pass give the protocol its name
(`forward/relay.py`), so that a server that speaks first loses no time. Only where it must be known
first are the bytes waited for, with MSG_PEEK and a deadline; at the deadline it is opaque. So is
it, too, where connections are routed by what a TLS client names, whatever is declared.
"""

from __future__ import annotations

import socket

from edgemesh.model.flows import Ending
from edgemesh.model.policies import Path
from edgemesh.model.services import ServicePort
from edgemesh.policy.paths import forwarding_path, hello_matters
from edgemesh.policy.verdict import Verdict
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.dial import dial
from edgemesh.proxy.http1 import client as http1
from edgemesh.proxy.http2 import client as http2
from edgemesh.reactor.reactor import ERROR, HANGUP, HANGUP_IN, IN
from edgemesh.wire.sniff import SNIFF_LIMIT, sniff

_HTTP2 = frozenset({"http2", "grpc"})


def resolve(flow: Flow) -> None:
    """Take a flow on to its decision, now or when its protocol is known."""
    context = flow.context
    port = flow.called_port()
    if port is None:
        dial(flow)
        return
    flow.application_protocol = port.application_protocol
    leads_somewhere = port.endpoints or port.routes or port.connection_routes
    asked_for = not port.application_protocol and context.settings.peek == "always"
    if leads_somewhere and (asked_for or hello_matters(port)):
        _Peek(flow, port).start()
    else:
        _go_on(flow, port)


def _go_on(flow: Flow, port: ServicePort) -> None:
    """Hand the flow to the path that its protocol and its port's policies ask for."""
    available = flow.context.decider.available
    if forwarding_path(port, flow.application_protocol, available) is not Path.HTTP:
        dial(flow)
        return
    flow.verdict = Verdict(port, path=Path.HTTP, source=port.source)
    flow.take_client()
    if flow.application_protocol in _HTTP2:
        http2.serve(flow)
    else:
        http1.serve(flow)


class _Peek:
    """The stage that waits for a client's first bytes and leaves them where they are."""

    __slots__ = ("_deadline", "_flow", "_port")

    def __init__(self, flow: Flow, port: ServicePort) -> None:
        self._flow = flow
        self._port = port
        reactor = flow.context.reactor
        seconds = flow.context.settings.peek_deadline_seconds
        self._deadline = reactor.after(seconds, self, self._expire)

    def start(self) -> None:
        """Look at what comes; what is there already comes with the next turn."""
        self._flow.stage = self
        self._flow.take_client()
        self._flow.context.reactor.watch_newcomer(self._flow.client.fileno(), self, IN | HANGUP_IN)

    def stop(self) -> None:
        """Forget the deadline."""
        self._deadline.cancel()

    def on_events(self, events: int) -> None:
        """Look at all bytes that have come so far."""
        self._look(complete=bool(events & (HANGUP_IN | HANGUP | ERROR)))

    def on_bug(self, error: Exception) -> None:
        """End the flow."""
        self._flow.finish(Ending.ERROR, type(error).__name__)

    def _expire(self) -> None:
        self._look(complete=True)

    def _look(self, *, complete: bool) -> None:
        flow = self._flow
        try:
            prefix = flow.client.recv(SNIFF_LIMIT, socket.MSG_PEEK)
        except BlockingIOError:
            prefix = b""
        except OSError as error:
            flow.finish(Ending.CLIENT_RESET, error.strerror or "")
            return
        sniffed = sniff(prefix, complete=complete)
        if sniffed is None:
            # Without it level-triggered epoll would report the same bytes for ever; TCP sockets
            # honour it in poll (tcp_stream_is_readable).
            flow.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(prefix) + 1)
            return
        flow.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self.stop()
        flow.context.reactor.unregister(flow.client.fileno())
        flow.stage = None
        # What was declared holds: bytes that contradict it say nothing.
        if flow.application_protocol in {"", sniffed.application_protocol}:
            flow.learn(sniffed)
        _go_on(flow, self._port)
