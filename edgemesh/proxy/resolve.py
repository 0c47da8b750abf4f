"""Resolve: which protocol a connection speaks, before or while it is forwarded.

What the Service declares is taken as it is. Where nothing is declared and nothing depends on
it, the flow goes on at once and the first bytes that pass give the protocol its name
(`forward/relay.py`), so that a server that speaks first loses no time. Only where it must be known
first are the bytes waited for, with MSG_PEEK and a deadline; at the deadline it is opaque.
"""

from __future__ import annotations

import socket

from edgemesh.model.flows import Ending
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.dial import dial
from edgemesh.proxy.reactor import ERROR, HANGUP, HANGUP_IN, IN
from edgemesh.wire.sniff import SNIFF_LIMIT, Sniffed, sniff


def resolve(flow: Flow) -> None:
    """Take a flow on to its decision, now or when its protocol is known."""
    context = flow.context
    port = context.decider.declared_port(flow.destination)
    if port is not None:
        flow.application_protocol = port.application_protocol
        if context.settings.peek == "always" and not port.application_protocol and port.endpoints:
            _Peek(flow).start()
            return
    dial(flow)


def _learn(flow: Flow, sniffed: Sniffed | None) -> None:
    if sniffed is not None:
        flow.application_protocol = sniffed.application_protocol
        flow.server_name = sniffed.server_name


class _Peek:
    """The stage that waits for a client's first bytes and leaves them where they are."""

    __slots__ = ("_deadline", "_flow")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        reactor = flow.context.reactor
        seconds = flow.context.settings.peek_deadline_seconds
        self._deadline = reactor.after(seconds, self, self._expire)

    def start(self) -> None:
        """Look at what comes; what is there already comes with the next turn."""
        self._flow.stage = self
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
        _learn(flow, sniffed)
        dial(flow)
