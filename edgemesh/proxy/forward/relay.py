"""The relay: bytes are copied in user space. It works for every flow, whatever the kernel has."""

from __future__ import annotations

from collections.abc import Callable

from edgemesh.model.flows import Ending, Mover
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.carried import Carried, Direction
from edgemesh.proxy.forward.pump import End, Pump
from edgemesh.reactor.reactor import IN


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
        from_client=Direction(for_endpoint),
        from_endpoint=Direction(for_client),
        unnamed=not flow.application_protocol,
        unheard=flow.attempt is not None,
        virtual=flow.has_virtual_socket,
    )
    pump = Pump(flow, carried, End)
    pump.start()
    # What the client has sent meanwhile is most often there already.
    pump.client_end.on_events(IN)


def resume_relay(flow: Flow, carried: Carried) -> None:
    """Go on with a flow that another stage has let go of, whatever it was in the midst of.

    Args:
        flow: its sockets are registered for nobody who counts on their events.
        carried: where it stands.
    """
    carried.hand_to(Mover.RELAY)
    if carried.closed:
        flow.finish(Ending.CLOSED, reset=False)
    else:
        Pump(flow, carried, End).start()
