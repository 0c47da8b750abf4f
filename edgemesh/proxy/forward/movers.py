"""The movers that there are here, and how a flow comes from one to another."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from edgemesh.model.flows import Mover
from edgemesh.model.policies import Path

if TYPE_CHECKING:
    from edgemesh.proxy.flow import Flow
    from edgemesh.proxy.forward.carried import Carried

Begin = Callable[["Flow", "Carried"], None]


class Movers:
    """Which movers can be had, and what lets each of them take hold of a flow.

    Attributes:
        available: those that can be had.
        observe: begins a flow that is connected and whose requests are to be counted on the way;
            None where nobody can.
    """

    def __init__(self, relay: Begin) -> None:
        """Know the relay, which always can be had.

        Args:
            relay: lets it go on with a flow, as `offer` has it.
        """
        self._begins = {Mover.RELAY: relay}
        self.available: AbstractSet[Mover] = frozenset(self._begins)
        self.observe: Callable[[Flow], None] | None = None

    def offer(self, mover: Mover, begin: Begin) -> None:
        """Let flows be given to ``mover`` from now on.

        Args:
            mover: which.
            begin: takes hold of a flow and becomes its stage, wherever the flow stands. The
                sockets are registered for nobody who still counts on their events. A mover that
                cannot do with a flow adds itself to `Carried.unable` and lets the relay go on.
        """
        self._begins[mover] = begin
        self.available = frozenset(self._begins)

    def withdraw(self, mover: Mover) -> None:
        """Give it no more flows; those that it has are its own matter."""
        assert mover is not Mover.RELAY
        self._begins.pop(mover, None)
        self.available = frozenset(self._begins)

    def suitable(self, flow: Flow, carried: Carried) -> AbstractSet[Mover]:
        """Those that a flow may be given to, as far as its policy and its sockets are concerned."""
        if flow.verdict is not None and flow.verdict.policy.path is Path.RELAY:
            return frozenset((Mover.RELAY,))
        return self.available - carried.unable if carried.unable else self.available

    def carry_on(self, flow: Flow, carried: Carried, mover: Mover) -> None:
        """Let ``mover`` go on with a flow; the relay does where it can be had no more."""
        begin = self._begins.get(mover) or self._begins[Mover.RELAY]
        begin(flow, carried)
