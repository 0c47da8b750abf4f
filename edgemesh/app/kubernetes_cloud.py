"""The cloud's API server: followed, and told how objects stand, by one replica at a time.

Replicas that share a store share what one of them follows; so its follower is the holder of the
Lease. A cloud with a store of its own follows for itself, and needs the Lease to write only.
"""

from __future__ import annotations

import random
from dataclasses import replace

import trio

from edgemesh.app.follow import Follower
from edgemesh.app.kubernetes import Following
from edgemesh.app.standing import Router, Standing
from edgemesh.cloud.access import Access, open_access
from edgemesh.cloud.authority import publish_authority
from edgemesh.cloud.events import Events
from edgemesh.cloud.lease import Election
from edgemesh.cloud.status_writer import StatusWriter
from edgemesh.cloud.subjects import Subjects
from edgemesh.cloud.token_review import TokenReviews
from edgemesh.meta.mirror import Mirror
from edgemesh.model.kubernetes_status import KubernetesStatus
from edgemesh.model.services import Snapshot
from edgemesh.model.settings import Settings
from edgemesh.policy.objects.written_status import Observed
from edgemesh.store.store import Store


class _Parts:
    """What follows and writes, from one beginning to follow to its end."""

    def __init__(self, cloud: CloudKubernetes, access: Access, events: Events) -> None:
        settings = cloud.settings.kubernetes
        self.subjects = Subjects(cloud.mirror, lambda: cloud.mirror.refused, self._warn_refused)
        self.following = Following(access, cloud.mirror, settings, lambda: "", self.subjects)
        self.writer = StatusWriter(
            access,
            self.subjects,
            cloud.standing,
            self.following.controller,
            settings,
            warn=events.warn,
            chance=random.random,
        )
        self.subjects.on_change(self.writer.look_again)
        self._events = events
        self._rule_seconds = settings.rule_status_seconds

    async def write(self) -> None:
        """Tell the server until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._events.run)
            nursery.start_soon(self.writer.run)
            self.writer.look_again()
            while True:
                await trio.sleep(self._rule_seconds)
                if any(key.kind == "Rule" for key in self.subjects.objects):
                    self.writer.look_again()

    def _warn_refused(self, about: Observed, problem: str) -> None:
        self._events.warn(about, "NotStored", problem)


class CloudKubernetes:
    """What a cloud needs of an API server.

    Attributes:
        settings: complete.
        mirror: of the server.
        standing: how objects stand.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        follower: Follower,
        router: Router | None,
        authority: str = "",
    ) -> None:
        """Ask nobody yet; see `run`.

        Args:
            settings: complete.
            store: of the cloud.
            follower: knows how objects stand.
            router: None where there is none.
            authority: the certificate that nodes know the cloud by, PEM; "" to tell nobody.
        """
        self._authority = authority
        self._reviews: TokenReviews | None = None
        self.settings = settings
        self._is_shared = store.is_shared
        self.mirror = Mirror(store, settings.meta.read_retry_seconds)
        self.standing = Standing(store, self.mirror, follower, router)
        self._election: Election | None = None
        self._events: Events | None = None
        self._parts: _Parts | None = None

    def swap(self, _snapshot: Snapshot) -> None:
        """Objects may stand otherwise now."""
        if self._parts is not None:
            self._parts.writer.look_again()

    async def review(self, token: str, node: str) -> str:
        """See `edgemesh.bus.cloudhub.enrolment.TokenReviewer`."""
        if self._reviews is None:
            return "the API server was not asked for anything yet: try again"
        return await self._reviews.review(token, node)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow and write until cancelled.

        Started soon: nodes are sent what is stored, whether the server is there or not.

        Raises:
            OperatorError: the server's configuration cannot be used.
        """
        settings = self.settings.kubernetes
        async with open_access(settings) as access, trio.open_nursery() as nursery:
            self._reviews = TokenReviews(access, settings)
            if self._authority and settings.authority_config_map:
                nursery.start_soon(publish_authority, access, settings, self._authority)
            events = self._events = Events(access, settings, self.settings.cloud.name)
            election = Election(access, settings, self.settings.cloud.name)
            if self._is_shared:
                self._election = election
                await nursery.start(election.run, lambda: self._follow_and_write(access, events))
            else:
                parts = self._parts = _Parts(self, access, events)
                await nursery.start(parts.following.controller.run)
                if settings.write_status:
                    self._election = election
                    await nursery.start(election.run, parts.write)
            task_status.started()

    def status(self) -> KubernetesStatus:
        """How far it has come."""
        server = self.settings.kubernetes.server
        parts, election, events = self._parts, self._election, self._events
        if parts is None:
            status = KubernetesStatus(server, reached=False, follows=election is None)
        else:
            problem = parts.writer.problem or (events.problem if events is not None else "")
            status = replace(
                parts.following.status(),
                statuses=parts.writer.written,
                write_problem=problem,
            )
        if election is None or events is None:
            return status
        return replace(
            status,
            events=events.written,
            holder=election.holder,
            holds=election.held,
            lease_problem=election.problem,
        )

    async def _follow_and_write(self, access: Access, events: Events) -> None:
        parts = self._parts = _Parts(self, access, events)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(parts.following.controller.run)
                if self.settings.kubernetes.write_status:
                    nursery.start_soon(parts.write)
        finally:
            self._parts = None
