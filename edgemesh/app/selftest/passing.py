"""Flows for the self-test that pass the gate, through the data plane's own stages."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import NamedTuple

import trio

from edgemesh.app.selftest.order import SelfTestOrder
from edgemesh.app.selftest.problem import expect
from edgemesh.kernel.bpf.gate_maps import Gate
from edgemesh.kernel.sockets import dialling_socket
from edgemesh.model.flows import Ending, FlowReport, Mover
from edgemesh.model.observe_settings import LogSettings
from edgemesh.observe.log import configure_logging
from edgemesh.policy.promotion import Behaviour
from edgemesh.policy.verdict import Verdict
from edgemesh.proxy.context import Context
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.carried import Carried
from edgemesh.proxy.forward.movers import Movers
from edgemesh.proxy.forward.relay import resume_relay
from edgemesh.proxy.forward.sockmap import Sockmap


class Stages(NamedTuple):
    """What flows go through."""

    context: Context
    sockmap: Sockmap
    patience_seconds: float


@asynccontextmanager
async def stages(order: SelfTestOrder, gate: Gate) -> AsyncIterator[Stages]:
    """Stages at work; flows are given to the gate as soon as something passes."""
    # Standard output is for the result.
    configure_logging(LogSettings())
    context = Context(order.proxy, 0, Movers(resume_relay), _drop)
    context.promotion = _AtOnce()
    sockmap = Sockmap(context, gate)
    with context.reactor:
        async with trio.open_nursery() as nursery:
            await nursery.start(context.reactor.run)
            sockmap.start()
            yield Stages(context, sockmap, order.patience_seconds)
            nursery.cancel_scope.cancel()


@contextmanager
def in_time(through: Stages) -> Iterator[None]:
    """What happens within does so soon.

    Raises:
        NotWorkingError: it did not.
    """
    with trio.move_on_after(through.patience_seconds) as patience:
        yield
    expect(not patience.cancelled_caught, "bytes stay on the way")


class Passing:
    """A flow that passes the gate, and the two programs that talk through it."""

    def __init__(
        self,
        sockmap: Sockmap,
        flow: Flow,
        client: trio.SocketStream,
        endpoint: trio.SocketStream,
    ) -> None:
        self.flow = flow
        self.client = client
        self.endpoint = endpoint
        self._sockmap = sockmap

    def keep_little(self, buffer_bytes: int) -> None:
        """Have the kernel keep little for those who do not read yet; else it keeps megabytes."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        self.endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self.flow.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)

    def begin(self) -> None:
        """Give the flow to the gate."""
        self.call(lambda: self._sockmap.begin(self.flow, Carried(self.flow.started)))

    def change_hands(self) -> None:
        """Have the relay go on; it gives the flow back when something passes."""
        member = self._sockmap.members.get(self.flow)
        if member is not None and member.stay is not None:
            self.call(member.stay.leave)

    def redirected(self) -> int:
        """Bytes that the kernel has moved."""
        member = self._sockmap.members.get(self.flow)
        if member is None:
            return 0
        return member.client.way.redirected + member.endpoint.way.redirected

    def call(self, what: Callable[[], None]) -> None:
        """Do something in a turn of the reactor."""
        self.flow.context.reactor.call(self._sockmap, what)


class _AtOnce:
    """The rule that gives flows to the gate as soon as something passes."""

    def decide(self, _behaviour: Behaviour, mover: Mover, suitable: AbstractSet[Mover]) -> Mover:
        return Mover.SOCKMAP if Mover.SOCKMAP in suitable else mover

    def notice_from(self, *_: object) -> int:
        return 0


@asynccontextmanager
async def passing_flow(through: Stages) -> AsyncIterator[Passing]:
    """A flow between two connections of this process; it is over at the end."""
    context, sockmap, patience_seconds = through
    client, ours = _connected(patience_seconds)
    endpoint, theirs = _connected(patience_seconds)
    flow = Flow(context, ours, ours.getpeername(), theirs.getpeername())
    flow.verdict = Verdict(None)
    flow.upstream = theirs
    try:
        async with _stream(client) as caller, _stream(endpoint) as called:
            yield Passing(sockmap, flow, caller, called)
    finally:
        context.reactor.call(sockmap, partial(flow.finish, Ending.CLOSED))


def _connected(patience_seconds: float) -> tuple[socket.socket, socket.socket]:
    """A program's end of a connection, and the agent's; neither blocks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        ours = dialling_socket(address[0], socket.SOCK_STREAM, 0)
        ours.settimeout(patience_seconds)
        ours.connect(address)
        theirs, _ = listener.accept()
    for end in (theirs, ours):
        end.setblocking(False)
    return theirs, ours


def _stream(sock: socket.socket) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))


def _drop(_report: FlowReport) -> None:
    """Nobody reads of these flows."""
