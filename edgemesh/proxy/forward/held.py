"""The relay of a flow that has been in the gate: it reads what the kernel passes.

Two things are different from other flows. What the kernel has redirected before may still be on
its way to the other socket: an end reads nothing before that has arrived there. And what the
kernel passes may be in a queue of its own for a moment (the target's, see bpf/gate.bpf.c), where
recv(2) does not see it: an end of stream is none before all that was passed has been read.
"""

from __future__ import annotations

import os
from functools import partial

from edgemesh.kernel.sockets import Socket
from edgemesh.kernel.tcp_state import tcp_state
from edgemesh.model.flows import Mover
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.carried import Carried, Direction
from edgemesh.proxy.forward.gate_member import Member, Side
from edgemesh.proxy.forward.pump import End, Pump
from edgemesh.reactor.reactor import Handler
from edgemesh.reactor.timers import Timer

# The kernel's worker that brings bytes to a socket needs microseconds, once it has a processor.
# It is offered ours so often in a turn, and for so many turns before it has until the next tick.
_YIELDS = 4
_TURNS = 32


def resume_held(flow: Flow, carried: Carried, member: Member) -> None:
    """Go on with a flow whose both directions are held.

    Args:
        flow: its sockets are registered for nobody who counts on their events.
        carried: where it stands, with all that the kernel has redirected.
        member: what the gate has of it.
    """
    carried.hand_to(Mover.RELAY)
    Pump(flow, carried, partial(_held_end, member)).start()


def _held_end(member: Member, pump: Pump, sock: Socket, direction: Direction) -> End:
    if sock is not pump.flow.client:
        return HeldEnd(member.endpoint, pump, sock, direction)
    if member.observed is not None:
        return member.observed(pump, sock, direction)
    return HeldEnd(member.client, pump, sock, direction)


class HeldEnd(End):
    """An end that waits for the kernel."""

    __slots__ = ("_is_next", "_side", "_timer", "_turns")

    def __init__(self, side: Side, pump: Pump, sock: Socket, direction: Direction) -> None:
        """Be the direction of ``side`` from now on."""
        super().__init__(pump, sock, direction)
        side.direction = self
        self._side = side
        self._is_next = False
        self._turns = 0
        self._timer: Timer[Handler] | None = None

    def read(self, most: int = 0) -> None:
        """Read once, when the other socket has all that came before."""
        if self._may_send():
            super().read(most)
        else:
            self._wait()

    def end_of_stream(self) -> None:
        """Pass it on, when there is nothing that has to come before."""
        if self._side.all_is_sent():
            super().end_of_stream()
        else:
            self._wait()

    def last_words(self) -> None:
        """Pass on what this side said, unless it would overtake."""
        if self._is_next:
            super().last_words()

    def give_up(self) -> Direction:
        """Where this direction stands."""
        self._cancel()
        return super().give_up()

    def drop(self) -> None:
        """The flow is over."""
        self._cancel()
        super().drop()

    def _may_send(self) -> bool:
        if not self._is_next:
            for _ in range(_YIELDS):
                if self._side.has_arrived(tcp_state(self.other.sock)):
                    self._is_next = True
                    break
                os.sched_yield()
        return self._is_next

    def _wait(self) -> None:
        """Be asked again, which epoll does in the next turn; now and then not before a tick."""
        self._turns += 1
        if self._turns % _TURNS:
            return
        self._leave_epoll()
        if self._timer is None:
            self._timer = self.pump.reactor.after(0, self, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        self.watch()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
