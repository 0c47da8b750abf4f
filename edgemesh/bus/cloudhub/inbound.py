"""What connected nodes say, by what it is about."""

from __future__ import annotations

from collections.abc import Callable

from edgemesh.bus.cloudhub.edge_node import EdgeNodes
from edgemesh.bus.cloudhub.mesh_node import MeshNodes
from edgemesh.bus.cloudhub.refusals import Reason, Refusals
from edgemesh.bus.cloudhub.session import Session
from edgemesh.model.errors import OperatorError
from edgemesh.policy.bus.authorization import NODE_LINK, SYNC_RESOURCE, refuse
from edgemesh.wire.kubeedge.application import is_application
from edgemesh.wire.message import Group, Message, MessageError


class Inbound:
    """Judges Messages of nodes and hands them to whom they are for.

    Args:
        mesh: answers edgemesh nodes.
        edge: answers KubeEdge's.
        refusals: where what is refused is counted.

    Attributes:
        route: is given what nodes say to the router, with the name of the node; it must not wait.
    """

    def __init__(self, mesh: MeshNodes, edge: EdgeNodes, refusals: Refusals) -> None:
        self._mesh = mesh
        self._edge = edge
        self._refusals = refusals
        self.route: Callable[[str, Message], None] | None = None

    async def handle(self, session: Session, message: Message) -> None:
        """Do what a Message asks, or count why not; the session goes on either way.

        Raises:
            NodeAwayError: the node went before it was answered.
        """
        refused = refuse(message, session.node, self._edge.holdings(session.node))
        try:
            if refused is None:
                await self._dispatch(session, message)
                return
            self._refusals.count(refused.reason, session.node, refused.problem)
            await self._edge.answer_refused(session, message, refused)
        except MessageError as problem:
            self._refusals.count(Reason.INVALID, session.node, str(problem))
        except OperatorError as problem:
            # The store refuses, or what the node wants to write is not valid.
            self._refusals.count(Reason.INVALID, session.node, str(problem))

    async def _dispatch(self, session: Session, message: Message) -> None:
        resource = message.route.resource
        if message.route.group == Group.USER:
            if self.route is not None:
                self.route(session.node, message)
        elif resource == SYNC_RESOURCE:
            await self._mesh.begin_sync(session, message)
        elif is_application(message):
            await self._edge.answer(session, message)
        elif message.resource.type == NODE_LINK:
            await self._mesh.note_link(session, message)
        else:
            await self._edge.answer(session, message)
