"""The parts of the hub, put together."""

from __future__ import annotations

from contextlib import ExitStack

import trio

from edgemesh.app.cloud_revocations import RevocationTeller
from edgemesh.bus.close_codes import CloseCode
from edgemesh.bus.cloudhub.changes import Changes
from edgemesh.bus.cloudhub.credentials import Credentials
from edgemesh.bus.cloudhub.door import Door
from edgemesh.bus.cloudhub.edge_node import EdgeNodes
from edgemesh.bus.cloudhub.edge_writes import EdgeWrites
from edgemesh.bus.cloudhub.enrolment import EnrolmentServer
from edgemesh.bus.cloudhub.hub import Hub
from edgemesh.bus.cloudhub.inbound import Inbound
from edgemesh.bus.cloudhub.link_notes import Apply, LinkNotes
from edgemesh.bus.cloudhub.listening import open_listeners
from edgemesh.bus.cloudhub.mesh_frames import MeshFrames
from edgemesh.bus.cloudhub.mesh_kinds import MESH_KINDS
from edgemesh.bus.cloudhub.mesh_node import MeshNodes
from edgemesh.bus.cloudhub.refusals import Refusals
from edgemesh.bus.cloudhub.replicas import Replicas
from edgemesh.bus.cloudhub.session import Session
from edgemesh.bus.cloudhub.sessions import Sessions
from edgemesh.bus.pki.checks import check_not_revoked
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.model.settings import Settings
from edgemesh.store.store import Store

# KubeEdge's nodes ask for them; ours have no use for them.
_EDGE_KINDS = frozenset({"ConfigMap", "Secret"})


class CloudHub:
    """Everything that nodes meet.

    Args:
        settings: complete.
        store: shared by all replicas.
        credentials: of this replica.
        apply: writes objects, within a transaction.

    Attributes:
        sessions: who is connected.
        refusals: what was refused.
        changes: what nodes are sent.
        replicas: the others, None where the store has room for one only.
        link_notes: writes how nodes are reached.
        door: where links may be taken: see `Door.adopt`.
        inbound: where the router may be heard: see `Inbound.route`.
        enrolment: where others' tokens may be judged: see `EnrolmentServer.review_with`.
    """

    def __init__(
        self, settings: Settings, store: Store, credentials: Credentials, apply: Apply
    ) -> None:
        cloud = settings.cloud
        self._settings = cloud
        self._credentials = credentials
        self.refusals = Refusals()
        self.sessions = Sessions()
        self.changes = Changes(
            store, MESH_KINDS | _EDGE_KINDS, settings.meta, cloud, self.sessions.are_behind
        )
        self._edge = EdgeNodes(self.changes, EdgeWrites(store, apply, cloud.max_nodes))
        frames = MeshFrames(self.changes, cloud.in_flight)
        self.link_notes = LinkNotes(store, apply)
        mesh = MeshNodes(self.changes, frames, self.link_notes, self.refusals)
        self.inbound = Inbound(mesh, self._edge, self.refusals)
        hub = Hub(cloud, self.sessions, self._begin, self.inbound.handle, self.refusals)
        self.door = Door(
            cloud,
            credentials.hub_context,
            lambda: credentials.revoked,
            hub.receive,
            self.refusals,
        )
        self.enrolment = EnrolmentServer(cloud, credentials, self.refusals)
        self.replicas = Replicas(store, self.sessions, cloud) if store.is_shared else None
        self.changes.on_news(self._wake)
        credentials.on_revocation(self._cut_revoked)
        self._revocations = RevocationTeller(store, apply, credentials)
        self._retry_seconds = settings.meta.read_retry_seconds

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve nodes until cancelled; started once they can connect.

        Raises:
            OperatorError: an address cannot be listened on.
        """
        settings = self._settings
        hub = await open_listeners("cloud.hub_listen", settings.hub_listen)
        with ExitStack() as until_serving:
            for listener in hub:
                until_serving.callback(listener.socket.close)
            enrolment = await open_listeners("cloud.enrolment_listen", settings.enrolment_listen)
            until_serving.pop_all()
        async with trio.open_nursery() as nursery:
            if self.replicas is not None:
                await nursery.start(self.replicas.run)
            await nursery.start(self._credentials.run)
            nursery.start_soon(self._revocations.run, self._retry_seconds)
            await nursery.start(self.changes.run)
            nursery.start_soon(self.link_notes.run)
            await nursery.start(self.enrolment.serve, enrolment)
            await nursery.start(self.door.serve, hub)
            task_status.started()

    async def release(self) -> None:
        """Tell all nodes to go elsewhere, and give them a moment to hear it."""
        self.sessions.end_all(CloseCode.GOING_AWAY, "this cloud stops")
        with trio.move_on_after(1):
            await self.sessions.empty()
            if self.replicas is not None:
                await self.replicas.leave()

    def _begin(self, session: Session) -> None:
        if not session.caller.edgemesh:
            self._edge.begin(session)

    def _wake(self, *, mesh: bool) -> None:
        for session in self.sessions:
            if mesh or not session.caller.edgemesh:
                session.wake()

    def _cut_revoked(self) -> None:
        for session in self.sessions:
            try:
                check_not_revoked(session.caller.certificate, self._credentials.revoked)
            except CertificateProblem as problem:
                session.end(CloseCode.REVOKED, str(problem))
