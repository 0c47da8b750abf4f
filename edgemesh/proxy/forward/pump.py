"""The pump: bytes are moved by system calls of ours, both ways, each way by itself.

Theory of operation. A flow has two ends, the client's socket and the endpoint's. Each end reads
from its own socket and writes to the other's. What the other socket does not take at once is
kept, at most one read of it, and reading stops until it is gone: the end is stuck. That is the
backpressure, and the bound on memory. An end that reads end-of-stream, which it does when it is
not stuck, shuts the other socket's write side (RFC 9293 section 3.6, half-close), and the flow
is over when both ends have done so. A reset on either side resets the other.

epoll is level-triggered, so an end registers only for what it can act on. A hang-up is reported
whether it was asked for or not: an end that cannot act on it leaves the epoll set.

What passes is noted, as far as something can still be learned from it: the protocol by the
first bytes, that the endpoint has answered, and how the flow behaves. That may let another
mover take over, at the end of the turn: by then no event is under way.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from edgemesh.kernel.sockets import Socket
from edgemesh.model.flows import Ending, Mover
from edgemesh.policy.promotion import Behaviour
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.carried import Carried, Direction
from edgemesh.proxy.forward.silence import Silence
from edgemesh.reactor.reactor import ERROR, HANGUP, HANGUP_IN, IN, OUT
from edgemesh.wire.sniff import OPAQUE, sniff

_READABLE = IN | HANGUP_IN | HANGUP | ERROR
_ASKED_TO_READ = IN | HANGUP_IN
# Reads that rescue what a side said before it was found to be gone.
_LAST_WORDS_READS = 64


class Pump:
    """The stage: both ends, and what is common to them.

    Attributes:
        notice_from: a read of so many bytes or more is to be noted.
    """

    __slots__ = (
        "_behaviour",
        "_leaving",
        "_silence",
        "carried",
        "client_end",
        "flow",
        "notice_from",
        "reactor",
        "upstream_end",
    )

    def __init__(
        self,
        flow: Flow,
        carried: Carried,
        make_end: Callable[[Pump, Socket, Direction], End],
    ) -> None:
        """Take hold of a flow that is not over; `start` registers.

        Args:
            flow: see there.
            carried: where it stands.
            make_end: makes the ends.
        """
        assert flow.upstream is not None
        self.flow = flow
        self.carried = carried
        self.reactor = flow.context.reactor
        self.notice_from = 0
        self._behaviour: Behaviour | None = None
        self._leaving = False
        self.client_end = make_end(self, flow.client, carried.from_client)
        self.upstream_end = make_end(self, flow.upstream, carried.from_endpoint)
        carried.from_client, carried.from_endpoint = self.client_end, self.upstream_end
        self.client_end.other = self.upstream_end
        self.upstream_end.other = self.client_end
        self._silence = Silence(flow, carried, self.client_end)
        flow.stage = self

    def start(self) -> None:
        """Move bytes from now on."""
        self.upstream_end.watch()
        self.client_end.watch()

    def stop(self) -> None:
        """Let go: the flow is over."""
        self._silence.cancel()
        self.client_end.drop()
        self.upstream_end.drop()
        self.carried.settle(self.flow)

    def notice(self, end: End, data: memoryview) -> None:
        """Learn from what was read at ``end``."""
        if self.carried.unnamed:
            self._name_protocol(end, data)
        self.note(end, len(data))

    def note(self, end: End, count: int) -> None:
        """Learn from it that it was so many bytes."""
        carried = self.carried
        if carried.unheard and end is self.upstream_end:
            carried.hear(self.flow)
        context = self.flow.context
        rule = context.promotion
        suitable = context.movers.suitable(self.flow, carried)
        least = rule.notice_from(self._behaviour, carried.mover, suitable)
        self.notice_from = 0 if carried.unheard else least
        if count < least:
            return
        if self._behaviour is None:
            self._behaviour = Behaviour()
        self._behaviour.note(
            from_client=end is self.client_end, count=count, answered=end.other.moved
        )
        mover = rule.decide(self._behaviour, carried.mover, suitable)
        if mover is not carried.mover:
            self.hand_over(mover, end)

    def hand_over(self, mover: Mover, end: End) -> None:
        """Let ``mover`` carry the flow on when this turn ends; the first word counts."""
        if not self._leaving:
            self._leaving = True
            self.reactor.soon(end, partial(self._leave_to, mover))

    def _leave_to(self, mover: Mover) -> None:
        if not self.flow.held_by(self):
            return
        self._silence.cancel()
        self.carried.from_client = self.client_end.give_up()
        self.carried.from_endpoint = self.upstream_end.give_up()
        self.flow.context.movers.carry_on(self.flow, self.carried, mover)

    def _name_protocol(self, end: End, data: memoryview) -> None:
        """Name an undeclared protocol by what passes first; a server's word makes it opaque."""
        self.carried.unnamed = False
        sniffed = sniff(data, complete=True) if end is self.client_end else None
        self.flow.learn(sniffed or OPAQUE)

    def half_closed(self) -> None:
        """One direction is done: silence of the other is borne less long."""
        self._silence.half_closed()

    def reset(self, end: End, error: OSError | None) -> None:
        """End the flow, since the peer of ``end`` is gone; what it said before goes through."""
        end.last_words()
        ending = Ending.CLIENT_RESET if end is self.client_end else Ending.ENDPOINT_RESET
        self.flow.finish(ending, (error.strerror or "") if error else "")


class End(Direction):
    """One socket of the flow, which is also the direction that starts at it. It copies.

    Attributes:
        stuck: something was read here that the other socket has not taken yet.
    """

    __slots__ = (
        "_watched",
        "other",
        "pump",
        "sock",
        "stuck",
    )

    other: End

    def __init__(self, pump: Pump, sock: Socket, direction: Direction) -> None:
        """Belong to ``pump``, and go on where ``direction`` stands."""
        super().__init__(direction.unsent, ended=direction.ended, moved=direction.moved)
        self.pump = pump
        self.sock = sock
        self.stuck = bool(direction.unsent)
        self._watched = -1

    def watch(self) -> None:
        """Register for what this end can act on now."""
        wanted = 0 if self.ended or self.stuck else _ASKED_TO_READ
        if self.other.stuck:
            wanted |= OUT
        if wanted != self._watched:
            self._watched = wanted
            self.pump.reactor.watch(self.sock.fileno(), self, wanted)

    def on_events(self, events: int) -> None:
        """Write what waits for this socket, then read once from it."""
        if events & OUT and self.other.stuck:
            self.other.send_rest()
            if not self.pump.flow.held_by(self.pump):
                return
        if not events & _READABLE:
            return
        if not self.ended and not self.stuck:
            self.read()
        elif events & ERROR:
            self.pump.reset(self, self.pending_error())
        elif events & HANGUP:
            self._leave_epoll()

    def on_bug(self, error: Exception) -> None:
        """End the flow."""
        self.pump.flow.finish(Ending.ERROR, type(error).__name__)

    def read(self, most: int = 0) -> None:
        """Read once, ``most`` bytes unless it is 0; the other socket takes as much as it does."""
        pump = self.pump
        buffer = pump.flow.context.relay_buffer
        try:
            count = self.sock.recv_into(buffer, most)
        except BlockingIOError:
            return
        except OSError as error:
            pump.reset(self, error)
            return
        if not count:
            self.end_of_stream()
            return
        pump.carried.last_active = pump.reactor.now
        data = buffer[:count]
        if count >= pump.notice_from:
            pump.notice(self, data)
        try:
            sent = self.other.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            pump.reset(self.other, error)
            return
        self.moved += sent
        if sent < count:
            self.unsent = bytes(data[sent:])
            self.turn_stuck(stuck=True)

    def send_rest(self) -> None:
        """Let the other socket take what waits; when it is gone, read again."""
        unsent = self.unsent
        try:
            sent = self.other.sock.send(unsent)
        except BlockingIOError:
            return
        except OSError as error:
            self.pump.reset(self.other, error)
            return
        self.pump.carried.last_active = self.pump.reactor.now
        self.moved += sent
        # A view of the rest instead of a copy: one short write after the other would be
        # quadratic.
        self.unsent = memoryview(unsent)[sent:] if sent < len(unsent) else b""
        if not self.unsent:
            self.turn_stuck(stuck=False)

    def turn_stuck(self, *, stuck: bool) -> None:
        """Stop or go on reading, and say at the other socket whether something waits for it."""
        self.stuck = stuck
        self.watch()
        self.other.watch()

    def give_up(self) -> Direction:
        """Where this direction stands, so that another stage can go on from there."""
        return Direction(self.unsent, ended=self.ended, moved=self.moved)

    def drop(self) -> None:
        """Release what is under way: the flow is over."""

    def end_of_stream(self) -> None:
        """Pass it on."""
        pump = self.pump
        self.ended = True
        pump.carried.last_active = pump.reactor.now
        try:
            self.other.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            # ENOTCONN: the other side has reset meanwhile, and its socket says so.
            pump.reset(self.other, self.other.pending_error() or error)
            return
        if self.other.ended:
            pump.flow.finish(Ending.CLOSED, reset=False)
            return
        self.watch()
        pump.half_closed()

    def _leave_epoll(self) -> None:
        """Stop hearing of a hang-up that nothing can be done about yet."""
        self._watched = -1
        self.pump.reactor.unregister(self.sock.fileno())

    def last_words(self) -> None:
        """Pass on what this side said before it went away, as far as the other takes it.

        A reset does not take back what its sender had sent before: without a proxy the receiver
        could still read it.
        """
        if self.stuck:
            return
        buffer = self.pump.flow.context.relay_buffer
        with suppress(OSError):
            for _ in range(_LAST_WORDS_READS):
                count = self.sock.recv_into(buffer)
                if not count:
                    return
                sent = self.other.sock.send(buffer[:count])
                self.moved += sent
                if sent < count:
                    return

    def pending_error(self) -> OSError | None:
        """Take the error that the socket holds, if it does."""
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return OSError(code, os.strerror(code)) if code else None
