"""One stay of a flow in the gate: entering, redirecting, leaving; sockmap.py has the theory."""

from __future__ import annotations

import socket
from typing import Protocol

from edgemesh.kernel.sockets import Socket
from edgemesh.kernel.tcp_state import tcp_state
from edgemesh.model.flows import Ending, Mover
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.carried import Carried, Direction
from edgemesh.proxy.forward.gate_member import Member
from edgemesh.proxy.forward.held import resume_held
from edgemesh.proxy.forward.silence import Silence
from edgemesh.reactor.reactor import HANGUP_IN

# Reads at one socket until there is nothing; one that goes on talking is for the relay.
_READS = 16


class Members(Protocol):
    """Who is known to the gate."""

    def known(self, flow: Flow) -> Member | None:
        """What the gate has of a flow, None for nothing."""
        ...

    def admit(self, flow: Flow, carried: Carried) -> Member | None:
        """Make a member of a flow of which nothing is before the agent; None if it cannot be."""
        ...


class Redirection:
    """The stage, and the handler of both sockets."""

    __slots__ = ("_carried", "_flow", "_member", "_reactor", "_silence")

    def __init__(self, flow: Flow, carried: Carried) -> None:
        """Take hold of a flow; `begin` goes on with it."""
        self._flow = flow
        self._carried = carried
        self._reactor = flow.context.reactor
        self._member: Member | None = None
        self._silence = Silence(flow, carried, self, self._look_at_counts)
        flow.stage = self

    def begin(self, members: Members) -> None:
        """Enter, or let the relay go on."""
        flow, carried = self._flow, self._carried
        member = members.known(flow)
        if member is not None:
            member.follow(carried)
        ready = self._is_ready(member)
        if not flow.held_by(self):
            return
        if member is None and ready:
            member = members.admit(flow, carried)
        if member is not None and ready:
            self._enter(member)
        else:
            self._go_on_without(member)

    def on_events(self, events: int) -> None:  # noqa: ARG002 - the relay finds out
        """Leave: a peer has ended its direction, or is gone."""
        self.leave()

    def on_bug(self, error: Exception) -> None:
        """End the flow."""
        self._flow.finish(Ending.ERROR, type(error).__name__)

    def leave(self) -> None:
        """Let the relay go on; does nothing when it does already."""
        member = self._member
        if member is None:
            return
        sides = (member.client, member.endpoint)
        for side in sides:
            side.way.hold()
        for side in sides:
            # Takes the lock: when the kernel has done with what had come, counts are final.
            tcp_state(side.sock)
        self._let_go()
        self._go_on_without(member)

    def stop(self) -> None:
        """Let go: the flow is over."""
        self._let_go()
        self._carried.settle(self._flow)

    def _is_ready(self, member: Member | None) -> bool:
        """Whether nothing is before the agent any more."""
        flow, carried = self._flow, self._carried
        assert flow.upstream is not None
        if carried.half_closed or (member is not None and not member.all_has_arrived()):
            return False
        if member is not None and member.observed is not None:
            # What comes next may be a request that is refused: it is not for this stage to read.
            unsent = carried.from_client.unsent or carried.from_endpoint.unsent
            return not unsent and member.all_is_sent()
        return self._empty(flow.client, flow.upstream, carried.from_client) and self._empty(
            flow.upstream, flow.client, carried.from_endpoint
        )

    def _empty(self, source: Socket, target: Socket, direction: Direction) -> bool:
        """Read and send until nothing is before the agent; False when something still is."""
        if direction.unsent:
            return False
        buffer = self._flow.context.relay_buffer
        at_work = source
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

    def _go_on_without(self, member: Member | None) -> None:
        self._silence.cancel()
        if member is None:
            self._flow.context.movers.carry_on(self._flow, self._carried, Mover.RELAY)
        else:
            resume_held(self._flow, self._carried, member)

    def _let_go(self) -> None:
        self._silence.cancel()
        if self._member is not None:
            self._look_at_counts()
            self._member.stay = None
            self._member = None

    def _look_at_counts(self) -> None:
        """Bring ``carried`` up to date with what the kernel has moved."""
        member, carried = self._member, self._carried
        if member is None:
            return
        rest = min(member.client.rest(), member.endpoint.rest())
        carried.last_active = max(carried.last_active, self._reactor.now - rest)
        member.client.count()
        member.endpoint.count()
        if carried.unheard and carried.from_endpoint.moved:
            carried.hear(self._flow)

    def _reset(self, sock: Socket, error: OSError) -> None:
        """End the flow, since the peer of a socket is gone."""
        ending = Ending.CLIENT_RESET if sock is self._flow.client else Ending.ENDPOINT_RESET
        self._flow.finish(ending, error.strerror or "")
