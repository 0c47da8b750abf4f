"""An API server, or KubeEdge's MetaServer, that the store is a mirror of: its parts put together.

An agent uses it alone; the cloud puts more around it, see ``app/kubernetes_cloud.py``.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import trio

from edgemesh.app.follow import Follower
from edgemesh.cloud.access import Access, open_access
from edgemesh.cloud.controller import Controller, ControllerSink
from edgemesh.meta.mirror import Mirror
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.kubernetes_status import FollowedKind, KubernetesStatus
from edgemesh.model.reflection import Phase, ReflectorState
from edgemesh.model.services import Snapshot
from edgemesh.model.settings import Settings
from edgemesh.store.store import Store

# In a status; the log has all of them.
_REFUSED_SHOWN = 10


class Following:
    """What follows one server.

    Args:
        access: to it.
        mirror: of it.
        settings: of it.
        pods: the field selector for Pods at present.
        sink: where everything goes on its way to the mirror.

    Attributes:
        controller: see there.
    """

    def __init__(
        self,
        access: Access,
        mirror: Mirror,
        settings: KubernetesSettings,
        pods: Callable[[], str],
        sink: ControllerSink,
    ) -> None:
        self._mirror = mirror
        self._settings = settings
        self.controller = Controller(access, sink, settings, random.random, pods)

    def status(self) -> KubernetesStatus:
        """How far it has come."""
        controller, mirror = self.controller, self._mirror
        states = controller.states()
        problem = controller.problem
        # One kind may be forbidden; of none is there an answer when nobody answers.
        if states and all(state.phase is Phase.FAILING for state in states):
            problem = problem or states[0].problem
        refused = list(mirror.refused.items())[-_REFUSED_SHOWN:]
        return KubernetesStatus(
            server=self._settings.server,
            reached=bool(controller.looked) and not problem,
            problem=problem,
            kinds=tuple(map(_shown, states)),
            unserved=tuple(controller.unserved()),
            objects=dict(mirror.written),
            refused={str(key): why for key, why in refused},
        )


class KubernetesConnection:
    """What an agent needs of an API server."""

    def __init__(self, settings: Settings, store: Store, follower: Follower) -> None:
        """Ask nobody yet; see `run`."""
        self._settings = settings
        self._follower = follower
        self._mirror = Mirror(store, settings.meta.read_retry_seconds)
        self._all_pods = settings.kubernetes.pods == "all"
        self._following: Following | None = None

    def swap(self, _snapshot: Snapshot) -> None:
        """Follow the Pods of other nodes while their labels matter, as they do to subsets."""
        wanted = self._settings.kubernetes.pods == "all" or self._follower.has_subsets
        if wanted is not self._all_pods:
            self._all_pods = wanted
            if self._following is not None:
                self._following.controller.choose_pods_again()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow until cancelled.

        Started soon: a node serves what it has, whether the server is there or not.

        Raises:
            OperatorError: the server's configuration cannot be used.
        """
        settings = self._settings.kubernetes
        async with open_access(settings) as access:
            following = Following(access, self._mirror, settings, self._pods, self._mirror)
            self._following = following
            task_status.started()
            await self._mirror.begin()
            await following.controller.run()

    def status(self) -> KubernetesStatus:
        """How far it has come."""
        if self._following is None:
            return KubernetesStatus(self._settings.kubernetes.server, reached=False)
        return self._following.status()

    def _pods(self) -> str:
        return "" if self._all_pods else f"spec.nodeName={self._settings.node}"


def _shown(state: ReflectorState) -> FollowedKind:
    return FollowedKind(
        kind=state.resource.kind,
        path=state.resource.path,
        phase=state.phase,
        synced=state.synced,
        seconds=round(trio.current_time() - state.since, 1),
        revision=state.revision,
        objects=state.objects,
        changes=state.changes,
        restarts=state.restarts,
        problem=state.problem,
    )
