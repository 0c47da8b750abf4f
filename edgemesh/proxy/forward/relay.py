"""The relay path: bytes are copied in user space, both ways, each way by itself.

Theory of operation. A flow has two ends, the client's socket and the endpoint's. Each end reads
from its own socket and writes to the other's. What the other socket does not take at once is
kept as ``unsent`` of the reading end, at most one read, and reading stops until it is gone:
that is the backpressure, and the bound on memory. An end that reads end-of-stream, which it
does with nothing unsent, shuts the other socket's write side (RFC 9293 section 3.6,
half-close), and the flow is over when both ends have done so. A reset on either side resets
the other.

epoll is level-triggered, so an end registers only for what it can act on. A hang-up is reported
whether it was asked for or not: an end that cannot act on it leaves the epoll set.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress

from edgemesh.model.flows import Ending
from edgemesh.policy.deadlines import policy_or_setting
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.reactor import ERROR, HANGUP, HANGUP_IN, IN, OUT, Handler
from edgemesh.proxy.timers import Timer
from edgemesh.wire.sniff import OPAQUE, sniff

_READABLE = IN | HANGUP_IN | HANGUP | ERROR
_ASKED_TO_READ = IN | HANGUP_IN
# Reads that rescue what a side said before it was found to be gone.
_LAST_WORDS_READS = 64


def relay(
    flow: Flow,
    for_client: bytes | memoryview = b"",
    for_endpoint: bytes | memoryview = b"",
    over: Callable[[], None] | None = None,
) -> None:
    """Copy between the flow's sockets from now on; its upstream is connected.

    Args:
        flow: see there.
        for_client: what was read of the endpoint before, and is to be passed on first.
        for_endpoint: the same for the other direction.
        over: is called when the flow ends.
    """
    _Relay(flow, over).start(for_client, for_endpoint)


class _Relay:
    """The stage: both ends, and the deadline for silence."""

    __slots__ = (
        "_deadline",
        "_idle_seconds",
        "_unheard",
        "_unnamed",
        "attentive",
        "client_end",
        "flow",
        "last_active",
        "over",
        "reactor",
        "upstream_end",
    )

    def __init__(self, flow: Flow, over: Callable[[], None] | None) -> None:
        assert flow.upstream is not None
        self.flow = flow
        self.over = over
        self.reactor = flow.context.reactor
        self.last_active = self.reactor.now
        self._unnamed = not flow.application_protocol
        self._unheard = flow.attempt is not None
        self.attentive = self._unnamed or self._unheard
        self.client_end = _End(self, flow.client)
        self.upstream_end = _End(self, flow.upstream)
        self.client_end.other = self.upstream_end
        self.upstream_end.other = self.client_end
        self._idle_seconds = _idle_seconds(flow)
        self._deadline: Timer[Handler] | None = None
        if self._idle_seconds:
            self._set_deadline(self._idle_seconds)

    def start(self, for_client: bytes | memoryview, for_endpoint: bytes | memoryview) -> None:
        self.flow.stage = self
        self.upstream_end.unsent = for_client
        self.client_end.unsent = for_endpoint
        self.upstream_end.watch()
        self.client_end.watch()
        # What the client has sent meanwhile is most often there already.
        self.client_end.on_events(IN)

    def stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self.flow.bytes_sent += self.client_end.moved
        self.flow.bytes_received += self.upstream_end.moved
        if self._unheard and self.upstream_end.moved:
            self._hear()
        if self.over is not None:
            self.over()

    def attend(self, end: _End, data: memoryview) -> None:
        """Learn from what passes first, until there is nothing more to learn."""
        if self._unnamed:
            self._name_protocol(end, data)
        if self._unheard and end is self.upstream_end:
            self._hear()
        self.attentive = self._unheard

    def _hear(self) -> None:
        """The endpoint has answered: it is well, however long the flow goes on."""
        self._unheard = False
        assert self.flow.attempt is not None
        self.flow.attempt.hear()

    def _name_protocol(self, end: _End, data: memoryview) -> None:
        """Name an undeclared protocol by what passes first; a server's word makes it opaque."""
        self._unnamed = False
        flow = self.flow
        sniffed = sniff(data, complete=True) if end is self.client_end else None
        flow.learn(sniffed or OPAQUE)

    def half_closed(self) -> None:
        """One direction is done: silence of the other is borne less long."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._set_deadline(self.flow.context.settings.half_closed_timeout_seconds)

    def reset(self, end: _End, error: OSError | None) -> None:
        """End the flow, since the peer of ``end`` is gone; what it said before goes through."""
        end.last_words()
        ending = Ending.CLIENT_RESET if end is self.client_end else Ending.ENDPOINT_RESET
        self.flow.finish(ending, (error.strerror or "") if error else "")

    def _set_deadline(self, seconds: float) -> None:
        self._deadline = self.reactor.after(seconds, self.client_end, self._look_at_silence)

    def _look_at_silence(self) -> None:
        allowed = self._idle_seconds
        if self.client_end.ended or self.upstream_end.ended:
            allowed = self.flow.context.settings.half_closed_timeout_seconds
        left = self.last_active + allowed - self.reactor.now
        if left <= 0:
            self.flow.finish(Ending.IDLE_TIMEOUT, f"silent for {allowed:g} s")
        else:
            self._set_deadline(left)


def _idle_seconds(flow: Flow) -> float:
    """How long silence is borne; 0 for ever."""
    setting = flow.context.settings.tcp_idle_timeout_seconds
    if flow.verdict is None:
        return setting
    return policy_or_setting(flow.verdict.policy.timeouts.idle, setting)


class _End:
    """One socket of the flow, and the direction that starts at it.

    Attributes:
        moved: bytes that this end has read and the other socket has taken.
        unsent: read here, not taken by the other socket yet.
        ended: end-of-stream was read here; nothing is unsent then.
    """

    __slots__ = (
        "_buffer",
        "_fd",
        "_relay",
        "_watched",
        "ended",
        "moved",
        "other",
        "sock",
        "unsent",
    )

    other: _End

    def __init__(self, relay: _Relay, sock: socket.socket) -> None:
        self._relay = relay
        self.sock = sock
        self._fd = sock.fileno()
        self._buffer = relay.flow.context.relay_buffer
        self._watched = -1
        self.moved = 0
        self.unsent: bytes | memoryview = b""
        self.ended = False

    def watch(self) -> None:
        """Register for what this end can act on now."""
        wanted = 0 if self.ended or self.unsent else _ASKED_TO_READ
        if self.other.unsent:
            wanted |= OUT
        if wanted != self._watched:
            self._watched = wanted
            self._relay.reactor.watch(self._fd, self, wanted)

    def on_events(self, events: int) -> None:
        """Write what waits for this socket, then read once from it."""
        if events & OUT and self.other.unsent:
            self.other.send_unsent()
            if self._relay.flow.stage is not self._relay:
                return
        if not events & _READABLE:
            return
        if not self.ended and not self.unsent:
            self._read()
        elif events & ERROR:
            self._relay.reset(self, self.pending_error())
        elif events & HANGUP:
            self._leave_epoll()

    def on_bug(self, error: Exception) -> None:
        """End the flow."""
        self._relay.flow.finish(Ending.ERROR, type(error).__name__)

    def _read(self) -> None:
        relay = self._relay
        buffer = self._buffer
        try:
            count = self.sock.recv_into(buffer)
        except BlockingIOError:
            return
        except OSError as error:
            relay.reset(self, error)
            return
        if not count:
            self._end_of_stream()
            return
        relay.last_active = relay.reactor.now
        data = buffer[:count]
        if relay.attentive:
            relay.attend(self, data)
        try:
            sent = self.other.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            relay.reset(self.other, error)
            return
        self.moved += sent
        if sent < count:
            self.unsent = bytes(data[sent:])
            self.watch()
            self.other.watch()

    def send_unsent(self) -> None:
        """Let the other socket take what waits; when it is gone, read again."""
        try:
            sent = self.other.sock.send(self.unsent)
        except BlockingIOError:
            return
        except OSError as error:
            self._relay.reset(self.other, error)
            return
        self._relay.last_active = self._relay.reactor.now
        self.moved += sent
        # A view of the rest instead of a copy: one short write after the other would be
        # quadratic.
        self.unsent = memoryview(self.unsent)[sent:] if sent < len(self.unsent) else b""
        if not self.unsent:
            self.watch()
            self.other.watch()

    def _end_of_stream(self) -> None:
        self.ended = True
        relay = self._relay
        try:
            self.other.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            # ENOTCONN: the other side has reset meanwhile, and its socket says so.
            relay.reset(self.other, self.other.pending_error() or error)
            return
        if self.other.ended:
            relay.flow.finish(Ending.CLOSED, reset=False)
            return
        self.watch()
        relay.half_closed()

    def _leave_epoll(self) -> None:
        """Stop hearing of a hang-up that nothing can be done about yet."""
        self._watched = -1
        self._relay.reactor.unregister(self._fd)

    def last_words(self) -> None:
        """Pass on what this side said before it went away, as far as the other takes it.

        A reset does not take back what its sender had sent before: without a proxy the receiver
        could still read it.
        """
        if self.unsent:
            return
        with suppress(OSError):
            for _ in range(_LAST_WORDS_READS):
                count = self.sock.recv_into(self._buffer)
                if not count:
                    return
                sent = self.other.sock.send(self._buffer[:count])
                self.moved += sent
                if sent < count:
                    return

    def pending_error(self) -> OSError | None:
        """Take the error that the socket holds, if it does."""
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return OSError(code, os.strerror(code)) if code else None
