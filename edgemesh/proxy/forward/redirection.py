"""One stay of a flow in the gate: entering, redirecting, leaving; sockmap.py has the theory."""

from __future__ import annotations

import os
import socket
import time
from typing import Protocol

from edgemesh.kernel.bpf.gate_maps import Way
from edgemesh.kernel.tcp_state import TCP_CLOSE, TcpState, tcp_state
from edgemesh.model.flows import Ending, Mover
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.carried import Carried, Direction
from edgemesh.proxy.forward.silence import Silence
from edgemesh.proxy.reactor import ERROR, HANGUP_IN, Handler
from edgemesh.proxy.timers import Timer

# Reads at one socket until there is nothing; one that goes on talking is for the relay.
_READS = 16
# The kernel's worker that brings redirected bytes to a socket needs microseconds, once it has a
# processor. It is offered ours so often before it is given until the next tick.
_YIELDS = 32


class Side:
    """One socket of a member of the gate, and the direction that starts at it.

    Attributes:
        direction: what has moved by all movers, and what is before the agent.
        way: what the kernel has of it.
    """

    __slots__ = ("_counted", "_moved_before", "direction", "sock", "way")

    def __init__(self, sock: socket.socket, direction: Direction, way: Way) -> None:
        """Begin with nothing moved by the kernel."""
        self.sock = sock
        self.direction = direction
        self.way = way
        self._moved_before = direction.moved
        self._counted = 0

    @property
    def _sent(self) -> int:
        """Bytes that were passed, and that the agent has sent."""
        return self.direction.moved - self._moved_before - self._counted

    def release(self) -> None:
        """Let the kernel move what comes, if all that was passed before is sent."""
        self.way.release(self._sent)

    def count(self) -> None:
        """Add to ``direction`` what the kernel has moved."""
        redirected = self.way.redirected
        self.direction.moved += redirected - self._counted
        self._counted = redirected

    def has_arrived(self, target: TcpState) -> bool:
        """Whether all that is counted was written to the target, or never will be."""
        moved = self.direction.moved - self._moved_before
        return target.written >= self.way.base + moved or target.state == TCP_CLOSE


class Member:
    """A flow that is known to the gate, until it is over.

    Attributes:
        client, endpoint: its two sides.
        stay: the stage, while the flow is in the gate.
    """

    __slots__ = ("client", "endpoint", "stay")

    def __init__(self, client: Side, endpoint: Side) -> None:
        """Belong to no stage yet."""
        self.client = client
        self.endpoint = endpoint
        self.stay: Redirection | None = None


class Membership(Protocol):
    """What makes members of flows."""

    def member(self, flow: Flow, carried: Carried) -> Member | None:
        """What the gate has of a flow of which nothing is before the agent."""
        ...


class Redirection:
    """The stage, and the handler of both sockets."""

    __slots__ = (
        "_carried",
        "_failed",
        "_flow",
        "_leaving",
        "_member",
        "_reactor",
        "_silence",
        "_timer",
    )

    def __init__(self, flow: Flow, carried: Carried) -> None:
        """Take hold of a flow; `begin` goes on with it."""
        self._flow = flow
        self._carried = carried
        self._reactor = flow.context.reactor
        self._member: Member | None = None
        self._leaving = False
        self._failed = False
        self._timer: Timer[Handler] | None = None
        self._silence = Silence(flow, carried, self, self._look_at_counts)
        flow.stage = self

    def begin(self, membership: Membership) -> None:
        """Enter, or let the relay go on."""
        flow, carried = self._flow, self._carried
        assert flow.upstream is not None
        empty = (
            not carried.half_closed
            and self._empty(flow.client, flow.upstream, carried.from_client)
            and self._empty(flow.upstream, flow.client, carried.from_endpoint)
        )
        if flow.stage is not self:
            return
        member = membership.member(flow, carried) if empty else None
        if member is None:
            self._hand_over()
        else:
            self._enter(member)

    def on_events(self, events: int) -> None:
        """Leave: a peer has ended its direction, or is gone."""
        if events & ERROR:
            self._failed = True
        self.leave()

    def on_bug(self, error: Exception) -> None:
        """End the flow."""
        self._flow.finish(Ending.ERROR, type(error).__name__)

    def leave(self) -> None:
        """Let the relay go on as soon as nothing is under way to a socket that it writes to."""
        if self._leaving or self._member is None:
            return
        self._leaving = True
        for side in (self._member.client, self._member.endpoint):
            side.way.hold()
        for _ in range(_YIELDS):
            if self._all_has_arrived():
                self._reactor.soon(self, self._hand_over)
                return
            os.sched_yield()
        self._reactor.unregister(self._member.client.sock.fileno())
        self._reactor.unregister(self._member.endpoint.sock.fileno())
        self._wait()

    def stop(self) -> None:
        """Let go: the flow is over."""
        self._let_go()
        self._carried.settle(self._flow)

    def _empty(self, source: socket.socket, target: socket.socket, direction: Direction) -> bool:
        """Read and send until nothing is before the agent; False when something still is."""
        if direction.unsent:
            return False
        buffer = self._flow.context.relay_buffer
        try:
            for _ in range(_READS):
                at_work = source
                count = source.recv_into(buffer)
                if not count:
                    return False  # The end of stream stays, and is read again by who goes on.
                direction.unsent = bytes(buffer[:count])
                at_work = target
                sent = target.send(direction.unsent)
                direction.moved += sent
                direction.unsent = direction.unsent[sent:]
                if direction.unsent:
                    return False
        except BlockingIOError:
            return not direction.unsent
        except OSError as error:
            self._reset(at_work, error)
        return False

    def _enter(self, member: Member) -> None:
        """Release the kernel, and have it look at what has come before."""
        self._member = member
        member.stay = self
        self._carried.hand_to(Mover.SOCKMAP)
        sides = (member.client, member.endpoint)
        for side in sides:
            side.release()
            self._reactor.watch(side.sock.fileno(), self, HANGUP_IN)
        for side in sides:
            try:
                side.sock.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                pass
            except OSError as error:
                self._reset(side.sock, error)
                return
        # These calls have taken the sockets' locks. What was passed before the kernel saw that
        # it is released is passed for good, and what comes later would have to wait for it.
        if Mover.SOCKMAP in self._carried.unable or not all(side.way.released for side in sides):
            self.leave()

    def _all_has_arrived(self) -> bool:
        assert self._member is not None
        client, endpoint = self._member.client, self._member.endpoint
        # Looking takes the locks: from now on nothing is redirected, and counts are final.
        client_state, endpoint_state = tcp_state(client.sock), tcp_state(endpoint.sock)
        client.count()
        endpoint.count()
        return client.has_arrived(endpoint_state) and endpoint.has_arrived(client_state)

    def _wait(self) -> None:
        self._timer = self._reactor.after(0, self, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        # A socket with an error may have dropped what it was given: the relay ends the flow.
        if self._failed or self._all_has_arrived():
            self._hand_over()
        else:
            self._wait()

    def _hand_over(self) -> None:
        if self._flow.stage is self:
            self._let_go()
            self._flow.context.movers.carry_on(self._flow, self._carried, Mover.RELAY)

    def _let_go(self) -> None:
        self._silence.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._member is not None:
            self._look_at_counts()
            self._member.stay = None

    def _look_at_counts(self) -> None:
        """Bring ``carried`` up to date with what the kernel has moved."""
        member, carried = self._member, self._carried
        if member is None:
            return
        member.client.count()
        member.endpoint.count()
        last = max(member.client.way.last_redirected, member.endpoint.way.last_redirected)
        # By its age: the reactor's clock may be another one than the kernel's.
        moved_at = self._reactor.now - (time.monotonic() - last)
        carried.last_active = max(carried.last_active, moved_at)
        if carried.unheard and carried.from_endpoint.moved:
            carried.hear(self._flow)

    def _reset(self, sock: socket.socket, error: OSError) -> None:
        """End the flow, since the peer of a socket is gone."""
        ending = Ending.CLIENT_RESET if sock is self._flow.client else Ending.ENDPOINT_RESET
        self._flow.finish(ending, error.strerror or "")
