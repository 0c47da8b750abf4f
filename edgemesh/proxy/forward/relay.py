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

from edgemesh.model.flows import Ending, Mover
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.carried import Carried, Direction
from edgemesh.proxy.forward.silence import Silence
from edgemesh.proxy.reactor import ERROR, HANGUP, HANGUP_IN, IN, OUT
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
    carried = Carried(
        flow.context.reactor.now,
        over,
        unnamed=not flow.application_protocol,
        unheard=flow.attempt is not None,
        from_client=Direction(for_endpoint),
        from_endpoint=Direction(for_client),
    )
    stage = _Relay(flow, carried)
    stage.start()
    # What the client has sent meanwhile is most often there already.
    stage.client_end.on_events(IN)


def resume_relay(flow: Flow, carried: Carried) -> None:
    """Go on with a flow that another stage has let go of, whatever it was in the midst of.

    Args:
        flow: neither of its sockets has a handler that still counts on events.
        carried: where it stands.
    """
    carried.hand_to(Mover.RELAY)
    if carried.closed:
        flow.finish(Ending.CLOSED, reset=False)
    else:
        _Relay(flow, carried).start()


class _Relay:
    """The stage: both ends, and the deadline for silence."""

    __slots__ = (
        "_silence",
        "attentive",
        "carried",
        "client_end",
        "flow",
        "reactor",
        "upstream_end",
    )

    def __init__(self, flow: Flow, carried: Carried) -> None:
        assert flow.upstream is not None
        self.flow = flow
        self.carried = carried
        self.reactor = flow.context.reactor
        self.attentive = carried.unnamed or carried.unheard
        self.client_end = _End(self, flow.client, carried.from_client)
        self.upstream_end = _End(self, flow.upstream, carried.from_endpoint)
        self.client_end.other = self.upstream_end
        self.upstream_end.other = self.client_end
        self._silence = Silence(flow, carried, self.client_end)
        flow.stage = self

    def start(self) -> None:
        self.upstream_end.watch()
        self.client_end.watch()

    def stop(self) -> None:
        self._silence.cancel()
        self.carried.settle(self.flow)

    def attend(self, end: _End, data: memoryview) -> None:
        """Learn from what passes first, until there is nothing more to learn."""
        carried = self.carried
        if carried.unnamed:
            self._name_protocol(end, data)
        if carried.unheard and end is self.upstream_end:
            carried.hear(self.flow)
        self.attentive = carried.unheard

    def _name_protocol(self, end: _End, data: memoryview) -> None:
        """Name an undeclared protocol by what passes first; a server's word makes it opaque."""
        self.carried.unnamed = False
        flow = self.flow
        sniffed = sniff(data, complete=True) if end is self.client_end else None
        flow.learn(sniffed or OPAQUE)

    def half_closed(self) -> None:
        """One direction is done: silence of the other is borne less long."""
        self._silence.half_closed()

    def reset(self, end: _End, error: OSError | None) -> None:
        """End the flow, since the peer of ``end`` is gone; what it said before goes through."""
        end.last_words()
        ending = Ending.CLIENT_RESET if end is self.client_end else Ending.ENDPOINT_RESET
        self.flow.finish(ending, (error.strerror or "") if error else "")


class _End:
    """One socket of the flow, and the direction that starts at it."""

    __slots__ = (
        "_buffer",
        "_carried",
        "_fd",
        "_relay",
        "_watched",
        "direction",
        "other",
        "sock",
    )

    other: _End

    def __init__(self, relay: _Relay, sock: socket.socket, direction: Direction) -> None:
        self._relay = relay
        self._carried = relay.carried
        self.sock = sock
        self.direction = direction
        self._fd = sock.fileno()
        self._buffer = relay.flow.context.relay_buffer
        self._watched = -1

    def watch(self) -> None:
        """Register for what this end can act on now."""
        direction = self.direction
        wanted = 0 if direction.ended or direction.unsent else _ASKED_TO_READ
        if self.other.direction.unsent:
            wanted |= OUT
        if wanted != self._watched:
            self._watched = wanted
            self._relay.reactor.watch(self._fd, self, wanted)

    def on_events(self, events: int) -> None:
        """Write what waits for this socket, then read once from it."""
        if events & OUT and self.other.direction.unsent:
            self.other.send_unsent()
            if self._relay.flow.stage is not self._relay:
                return
        if not events & _READABLE:
            return
        direction = self.direction
        if not direction.ended and not direction.unsent:
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
        self._carried.last_active = relay.reactor.now
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
        self.direction.moved += sent
        if sent < count:
            self.direction.unsent = bytes(data[sent:])
            self.watch()
            self.other.watch()

    def send_unsent(self) -> None:
        """Let the other socket take what waits; when it is gone, read again."""
        relay = self._relay
        direction = self.direction
        unsent = direction.unsent
        try:
            sent = self.other.sock.send(unsent)
        except BlockingIOError:
            return
        except OSError as error:
            relay.reset(self.other, error)
            return
        self._carried.last_active = relay.reactor.now
        direction.moved += sent
        # A view of the rest instead of a copy: one short write after the other would be
        # quadratic.
        direction.unsent = memoryview(unsent)[sent:] if sent < len(unsent) else b""
        if not direction.unsent:
            self.watch()
            self.other.watch()

    def _end_of_stream(self) -> None:
        self.direction.ended = True
        relay = self._relay
        self._carried.last_active = relay.reactor.now
        try:
            self.other.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            # ENOTCONN: the other side has reset meanwhile, and its socket says so.
            relay.reset(self.other, self.other.pending_error() or error)
            return
        if self.other.direction.ended:
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
        if self.direction.unsent:
            return
        with suppress(OSError):
            for _ in range(_LAST_WORDS_READS):
                count = self.sock.recv_into(self._buffer)
                if not count:
                    return
                sent = self.other.sock.send(self._buffer[:count])
                self.direction.moved += sent
                if sent < count:
                    return

    def pending_error(self) -> OSError | None:
        """Take the error that the socket holds, if it does."""
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return OSError(code, os.strerror(code)) if code else None
