"""The edgecontroller: follows all kinds that edgemesh keeps of an API server, each as served.

Theory of operation: a look now and then finds out what the server serves. A kind that is served is
followed by a reflector; one that is not is left as it was stored, and followed once a look finds
it. A kind that is served under another path, or chosen by other selectors, is followed anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import trio

from edgemesh.cloud.access import Access, UnreachableError
from edgemesh.cloud.discovery import Served, discover
from edgemesh.cloud.followed import FOLLOWED_KINDS
from edgemesh.cloud.objects import ApiRefusedError
from edgemesh.cloud.reflector import Reflector
from edgemesh.cloud.sink import Sink
from edgemesh.model.kinds import Kind
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.reflection import Phase, ReflectorState, Resource
from edgemesh.observe.log import get_logger
from edgemesh.policy.bus.reconnect import Reconnect
from edgemesh.wire.kubernetes_api.objects import ApiContentError

_log = get_logger("edgecontroller")

_SLICES, _ENDPOINTS, _PODS = "EndpointSlice", "Endpoints", "Pod"


class ControllerSink(Sink, Protocol):
    """Where everything goes that is followed."""

    async def narrow(self, resource: Resource) -> None:
        """Forget objects of a resource's kind that its selectors do not choose."""


@dataclass
class _Followed:
    """A resource that is followed, and what ends that."""

    resource: Resource
    reflector: Reflector
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class Controller:
    """See the module.

    Args:
        access: to the server.
        sink: keeps what there is.
        settings: times and limits.
        chance: from 0 to 1, by lot.
        pods: the field selector for Pods at present, "" for all.
        kinds: to follow.

    Attributes:
        served: kinds that the server serves, by name; empty before the first look.
        problem: why the last look failed, "" when it did not.
        looked: how many looks have come to an end well.
    """

    def __init__(
        self,
        access: Access,
        sink: ControllerSink,
        settings: KubernetesSettings,
        chance: Callable[[], float],
        pods: Callable[[], str],
        *,
        kinds: Sequence[Kind] = FOLLOWED_KINDS,
    ) -> None:
        self._access = access
        self._sink = sink
        self._settings = settings
        self._chance = chance
        self._pods = pods
        self._kinds = kinds
        self._followed: dict[str, _Followed] = {}
        self._swept_endpoints = False
        self._hurry = trio.Event()
        self._failures = self._new_failures()
        self.served: Mapping[str, Served] = {}
        self.problem = ""
        self.looked = 0

    def states(self) -> list[ReflectorState]:
        """How far each kind that is followed has come."""
        return [each.reflector.state for each in self._followed.values()]

    @property
    def listed(self) -> bool:
        """Whether everything is here that the server can be had to list now."""
        states = self.states()
        return bool(states) and not any(map(self._is_coming, states))

    def where(self, kind: str) -> Served | None:
        """Where a kind is served, None where it is not, as far as that is known."""
        return self.served.get(kind)

    def unserved(self) -> list[str]:
        """Kinds that the server does not serve, as far as that is known."""
        if not self.looked:
            return []
        return [kind.name for kind in self._kinds if kind.name not in self.served]

    def choose_pods_again(self) -> None:
        """Follow other Pods, if others are wanted now."""
        self._hurry.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow until cancelled; started at once, whether there is a server or not."""
        next_look = trio.current_time()
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                if trio.current_time() >= next_look:
                    pause = await self._look()
                    next_look = trio.current_time() + pause
                self._hurry = trio.Event()
                for resource in self._wanted():
                    self._follow(nursery, resource)
                await self._leave_endpoints()
                with trio.move_on_at(next_look):
                    await self._hurry.wait()

    async def _look(self) -> float:
        """Find out what is served; seconds until it is time to look again."""
        try:
            found = await discover(self._access, self._kinds, self.served)
        except (ApiRefusedError, ApiContentError, UnreachableError) as error:
            if not self.problem:
                _log.warning("the API server does not say what it serves", problem=str(error))
            self.problem = str(error)
            asked = error.pause if isinstance(error, ApiRefusedError) else 0.0
            asked = min(asked, self._settings.max_retry_after_seconds)
            return max(asked, self._failures.pause(0, self._chance()))
        if self.problem:
            _log.info("the API server answers")
        self._failures = self._new_failures()
        self.problem = ""
        self.looked += 1
        self.served = found.served
        return self._pause(asks_lists=found.by_lists)

    def _pause(self, *, asks_lists: bool) -> float:
        """Seconds between two looks; a MetaServer whose cloud is away answers out of its own."""
        settings, states = self._settings, self.states()
        costs = asks_lists and states and all(each.phase is not Phase.UNKNOWN for each in states)
        return settings.metaserver_missing_seconds if costs else settings.missing_seconds

    def _new_failures(self) -> Reconnect:
        settings = self._settings
        return Reconnect(settings.first_retry_seconds, settings.max_retry_seconds)

    def _is_coming(self, state: ReflectorState) -> bool:
        """Whether a list that is not here is to be waited for; one may be forbidden for ever."""
        if state.synced:
            return False
        given_up = trio.current_time() >= state.since + self._settings.max_retry_seconds
        return state.phase is Phase.LISTING or (state.phase is Phase.FAILING and not given_up)

    def _wanted(self) -> Iterator[Resource]:
        for kind in self._kinds:
            served = self.served.get(kind.name)
            if served is None or (kind.name == _ENDPOINTS and _SLICES in self.served):
                continue
            selector = self._pods() if kind.name == _PODS else ""
            yield Resource(kind.name, served.path, kind.namespaced, selector)

    def _follow(self, nursery: trio.Nursery, resource: Resource) -> None:
        """Follow a resource, unless it is followed already."""
        before = self._followed.get(resource.kind)
        if before is not None:
            if before.resource == resource:
                return
            before.scope.cancel()
        reflector = Reflector(
            self._access, resource, self._sink, settings=self._settings, chance=self._chance
        )
        followed = self._followed[resource.kind] = _Followed(resource, reflector)
        nursery.start_soon(self._run, followed)

    async def _run(self, followed: _Followed) -> None:
        with followed.scope:
            await self._sink.narrow(followed.resource)
            await followed.reflector.run()

    async def _leave_endpoints(self) -> None:
        """Let go of Endpoints once EndpointSlices say the same: they would be counted twice."""
        slices = self._followed.get(_SLICES)
        if self._swept_endpoints or slices is None or not slices.reflector.state.synced:
            return
        before = self._followed.pop(_ENDPOINTS, None)
        if before is not None:
            before.scope.cancel()
        await self._sink.keep_only(Resource(_ENDPOINTS, "/api/v1/endpoints"), ())
        self._swept_endpoints = True
