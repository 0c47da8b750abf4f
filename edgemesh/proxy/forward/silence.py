"""How long silence of a flow is borne: the deadline that every stage that carries bytes keeps."""

from __future__ import annotations

from collections.abc import Callable

from edgemesh.model.flows import Ending
from edgemesh.policy.deadlines import policy_or_setting
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.carried import Carried
from edgemesh.reactor.reactor import Handler
from edgemesh.reactor.timers import Timer


class Silence:
    """Ends the flow when nothing has moved for too long; one way of it being closed, sooner."""

    __slots__ = ("_carried", "_deadline", "_flow", "_handler", "_look")

    def __init__(
        self,
        flow: Flow,
        carried: Carried,
        handler: Handler,
        look: Callable[[], None] | None = None,
    ) -> None:
        """Set the deadline.

        Args:
            flow: see there.
            carried: its ``last_active`` is when silence began.
            handler: is told of a bug.
            look: brings ``carried`` up to date where bytes move unseen; called before the flow
                is judged. It may end the flow.
        """
        self._flow = flow
        self._carried = carried
        self._handler = handler
        self._look = look
        self._deadline: Timer[Handler] | None = None
        self._set()

    def half_closed(self) -> None:
        """One direction is done: silence of the other is borne less long."""
        self.cancel()
        self._set()

    def cancel(self) -> None:
        """Bear it from now on."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _set(self) -> None:
        allowed = self._allowed()
        if not allowed:
            return
        reactor = self._flow.context.reactor
        left = self._carried.last_active + allowed - reactor.now
        self._deadline = reactor.after(left, self._handler, self._judge)

    def _allowed(self) -> float:
        """How long silence is borne now; 0 for ever."""
        if self._carried.half_closed:
            return self._flow.context.settings.half_closed_timeout_seconds
        return _idle_seconds(self._flow)

    def _judge(self) -> None:
        self._deadline = None
        if self._look is not None:
            stage = self._flow.stage
            self._look()
            if self._flow.stage is not stage:
                return
        allowed = self._allowed()
        if self._carried.last_active + allowed <= self._flow.context.reactor.now:
            self._flow.finish(Ending.IDLE_TIMEOUT, f"silent for {allowed:g} s")
        else:
            self._set()


def _idle_seconds(flow: Flow) -> float:
    """How long silence is borne; 0 for ever."""
    setting = flow.context.settings.tcp_idle_timeout_seconds
    if flow.verdict is None:
        return setting
    return policy_or_setting(flow.verdict.policy.timeouts.idle, setting)
