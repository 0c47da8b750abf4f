"""Keeps a sink equal to what an API server, or KubeEdge's MetaServer, has of one resource.

List, then watch from where the list ended, and again from where the watch ended; a new list
whenever the server, or the sort of server, leaves a doubt. What to do next is decided by
``policy.reflector``; here it is done.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from edgemesh.cloud.access import Access
from edgemesh.cloud.sink import Sink
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.reflection import Phase, ReflectorState, Resource


class Reflector:
    """Follows one resource.

    Args:
        access: to the server; shared by all reflectors.
        resource: what to follow.
        sink: keeps what there is.
        settings: times and limits.
        chance: from 0 to 1, by lot: spreads the pauses of many nodes.
    """

    def __init__(
        self,
        access: Access,
        resource: Resource,
        sink: Sink,
        *,
        settings: KubernetesSettings,
        chance: Callable[[], float],
    ) -> None:
        self._access = access
        self._resource = resource
        self._sink = sink
        self._settings = settings
        self._chance = chance
        self._since = trio.current_time()

    @property
    def state(self) -> ReflectorState:
        """How far it has come."""
        return ReflectorState(self._resource, Phase.LISTING, False, "", 0, 0, 0, 0, "", self._since)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow until cancelled.

        ``task_status.started()`` is called once the server has answered: the first list is in the
        sink, or the resource is missing, or MetaServer does not know. A server that cannot be
        reached is tried for ever, so whoever must start without one uses ``start_soon``.

        Raises:
            whatever the sink raises.
        """
        raise NotImplementedError
