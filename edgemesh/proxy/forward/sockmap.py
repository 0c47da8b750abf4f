"""The mover for flows of small messages: the kernel moves them from socket to socket.

Theory of operation. bpf/gate.bpf.c says what the kernel does; here is when it may. A flow is in
one of these states:

- *Plain*: its sockets have never been in the gate. Another stage carries it.
- *Entering*: what lies before the agent is read until there is nothing, and sent: the kernel
  looks at packets as a whole, and would move again what was read of a packet in part. Then the
  sockets are told of each other, then given the program, then made to look at what has come
  meanwhile, as the next packet would do.
- *Redirecting*: the agent hears of nothing but a direction's end, a reset, and an overflow: that
  more is under way than `BpfSettings.backlog_bytes`.
- *Held*, after each of these and whenever the agent wants: what arrives from now on is passed,
  and waits to be read. The relay goes on with the flow as soon as what was redirected before has
  got to the sockets. So ends of stream, resets and stalled readers are the relay's business
  alone. From here a flow comes back by *entering* again: when all that was passed is sent, the
  kernel is released.

A socket that has been given the program keeps it until it is closed. Taking it away has a race
in the kernel that loses what arrives in this moment (bpf/gate.bpf.c); held it is as good as any
other socket for recv(2), but not for splice(2), which does not see what was passed. So a flow
that has been in the gate is not spliced any more.

Entering and redirecting are done in `Redirection`, held flows in `HeldEnd`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from edgemesh.kernel.bpf.gate_maps import Gate, Junction
from edgemesh.kernel.bpf.maps import Map
from edgemesh.model.flows import Ending, Mover
from edgemesh.observe.log import get_logger
from edgemesh.proxy.context import Context
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.carried import Carried
from edgemesh.proxy.forward.gate_member import Member, Side
from edgemesh.proxy.forward.redirection import Redirection
from edgemesh.reactor.reactor import IN

_NO_MEMORY = "the kernel had no memory for what has come"

_log = get_logger("sockmap")


class Observation(Protocol):
    """What lets the requests of one flow be counted.

    Attributes:
        sources: gives its sockets the program that counts.
    """

    sources: Map

    def prepare(self, member: Member) -> None:
        """Count from now on: the flow's sockets are given the program next."""
        ...


class Sockmap:
    """Takes flows into the gate, and is the handler of its overflows.

    Attributes:
        members: flows that are known to the gate.

    Ownership: the gate is the caller's, who closes it when all flows are over.
    """

    def __init__(self, context: Context, gate: Gate) -> None:
        """Prepare; `start` offers it to flows."""
        self._context = context
        self._gate = gate
        self.members: dict[Flow, Member] = {}
        self._by_number: dict[int, Flow] = {}
        self._reasons: set[int | None] = set()

    def start(self) -> None:
        """Take flows from now on."""
        self._context.reactor.watch(self._gate.fileno(), self, IN)
        self._context.movers.offer(Mover.SOCKMAP, self.begin)

    def stop(self) -> None:
        """Take no more flows, and leave those that there are to the relay; not for handlers."""
        self._context.movers.withdraw(Mover.SOCKMAP)
        self._context.reactor.unregister(self._gate.fileno())
        for member in list(self.members.values()):
            if member.stay is not None:
                self._context.reactor.call(member.stay, member.stay.leave)

    def abandon(self, reason: str) -> None:
        """Take no more flows, and end those that the gate has forgotten; not for handlers.

        For a gate that was taken away from under them: what comes lies where nobody looks.

        Args:
            reason: for their records.
        """
        self._context.movers.withdraw(Mover.SOCKMAP)
        for flow, member in list(self.members.items()):
            if not self._gate.knows(member.client.sock):
                self._context.reactor.call(self, partial(flow.finish, Ending.ERROR, reason))

    def begin(self, flow: Flow, carried: Carried) -> None:
        """Go on with a flow: in the gate, or by the relay if that cannot be now.

        Args:
            flow: its sockets are registered for nobody who counts on their events.
            carried: where it stands.
        """
        Redirection(flow, carried).begin(self)

    def on_events(self, events: int) -> None:  # noqa: ARG002 - there is but one
        """Leave with the flows of which more is under way than may be; end those that lack some."""
        for number in self._gate.overflows():
            flow = self._by_number.get(number)
            if flow is None:
                continue
            member = self.members[flow]
            if member.has_lost:
                self._context.reactor.soon(self, partial(flow.finish, Ending.ERROR, _NO_MEMORY))
            elif member.stay is not None:
                self._context.reactor.soon(member.stay, member.stay.leave)

    def on_bug(self, error: Exception) -> None:
        """Flows see to themselves: what they do is not done here."""

    def known(self, flow: Flow) -> Member | None:
        """What the gate has of a flow, None for nothing."""
        return self.members.get(flow)

    def admit(
        self, flow: Flow, carried: Carried, observation: Observation | None = None
    ) -> Member | None:
        """Make a member of a flow; None when it cannot be one.

        Args:
            flow: nothing of it lies before the agent, or nothing that was looked at.
            carried: where it stands.
            observation: of a flow whose requests are counted.
        """
        assert flow.upstream is not None
        sources = None if observation is None else observation.sources
        try:
            junction = self._gate.open(flow.client, flow.upstream, sources)
        except OSError as error:
            self._refuse(carried, error)
            return None
        member = Member(
            Side(flow.client, carried.from_client, junction.from_client),
            Side(flow.upstream, carried.from_endpoint, junction.from_endpoint),
        )
        self.members[flow] = member
        for way in junction:
            self._by_number[way.number] = flow
        carried.over = partial(self._forget, flow, junction, carried.over)
        # From the first on that has entered, the flow has a socket that splice(2) cannot read.
        carried.unable |= {Mover.SPLICE}
        if observation is not None:
            observation.prepare(member)
        try:
            for side in (member.client, member.endpoint):
                self._gate.enter(side.sock, sources)
                side.entered = True
        except OSError as error:
            self._refuse(carried, error)
            if not member.client.entered:
                member.observed = None
        return member

    def _refuse(self, carried: Carried, error: OSError) -> None:
        """Do without the gate for this flow; why is logged once."""
        carried.unable |= {Mover.SOCKMAP}
        if error.errno not in self._reasons:
            self._reasons.add(error.errno)
            _log.info("the kernel does not move a flow", reason=error.strerror)

    def _forget(self, flow: Flow, junction: Junction, over: Callable[[], None] | None) -> None:
        """The flow is over; its sockets are closed next."""
        assert flow.upstream is not None
        del self.members[flow]
        for way in junction:
            del self._by_number[way.number]
        self._gate.close(junction, flow.client, flow.upstream)
        if over is not None:
            over()
