"""What KubeEdge's nodes are sent, ask and write, as CloudCore's edgecontroller does it."""

from __future__ import annotations

from edgemesh.bus.cloudhub.applications import Applications
from edgemesh.bus.cloudhub.changes import Changes
from edgemesh.bus.cloudhub.down_change import DownChange
from edgemesh.bus.cloudhub.down_feed import DownFeed, EdgeCourse
from edgemesh.bus.cloudhub.edge_writes import EdgeWrites
from edgemesh.bus.cloudhub.holdings import NodeHoldings
from edgemesh.bus.cloudhub.session import Session
from edgemesh.bus.stamp import new_stamp
from edgemesh.model.objects import ObjectKey
from edgemesh.policy.bus.authorization import Refused
from edgemesh.wire.kubeedge.answers import answer, error, failure, not_found, outcome
from edgemesh.wire.kubeedge.application import is_application
from edgemesh.wire.kubeedge.session import needs_acknowledgement
from edgemesh.wire.message import Message, Operation, decode_message

_WRITES = frozenset({Operation.INSERT, Operation.UPDATE, Operation.PATCH})
# What CloudCore since v1.8 leaves without an answer is not answered here either.
_ANSWERED = {"node": "Node", "pod": "Pod", "configmap": "ConfigMap"}


class EdgeNodes:
    """Serves KubeEdge's edges.

    Args:
        changes: of the store.
        writes: carries out what edges write.
    """

    def __init__(self, changes: Changes, writes: EdgeWrites) -> None:
        self._changes = changes
        self._writes = writes
        self._applications = Applications(changes)

    def holdings(self, node: str) -> NodeHoldings:
        """What belongs to a node."""
        return NodeHoldings(self._changes, node)

    def begin(self, session: Session) -> None:
        """Send the node its Node, its Pods, and what becomes of them."""
        node = session.node
        own = ObjectKey("Node", "", node)

        def is_wanted(change: DownChange) -> bool:
            return change.node == node or change.key == own or change.key in session.followed

        feed = DownFeed(self._changes, EdgeCourse(self._changes, is_wanted), session.end)
        feed.ask_again((own, *(change.key for change in self._changes.pods_on(node))))
        session.feed = feed

    async def answer(self, session: Session, message: Message) -> None:
        """Answer what an edge asks or writes.

        Raises:
            NodeAwayError: the node went before it was answered.
            MessageError: the resource or the content has another form.
        """
        if is_application(message):
            await self._applications.answer(session, message)
            return
        path = message.resource
        kind = _ANSWERED.get(path.type)
        if message.route.operation != Operation.QUERY or kind is None:
            written = await self._writes.write(message)
            if written is not None:
                answered = answer(message, new_stamp(), written.content, revision=written.revision)
                await session.tell(answered)
            return
        # What a node has just written it reads.
        await self._changes.caught_up()
        key = ObjectKey(kind, "" if kind == "Node" else path.namespace, path.name)
        change = self._changes.get(key)
        if change is None or change.deleted:
            content = error(not_found(path.type, path.name))
            await session.tell(answer(message, new_stamp(), content))
            return
        found = decode_message(change.text.encode())
        revision = found.header.resourceversion
        answered = answer(message, new_stamp(), found.content, revision=revision)
        if needs_acknowledgement(answered) and session.feed is not None:
            session.followed.add(key)
            session.insist(answered, key)
        else:
            await session.tell(answered)

    async def answer_refused(self, session: Session, message: Message, refused: Refused) -> None:
        """Tell a node that waits for an answer that it will get none; CloudCore does not.

        Raises:
            NodeAwayError: the node went before it was answered.
            MessageError: what is refused has no form that could be answered.
        """
        status = failure(403, "Forbidden", refused.problem)
        if is_application(message):
            await self._applications.refuse(session, message, refused.problem)
        elif message.route.operation == Operation.QUERY:
            await session.tell(answer(message, new_stamp(), error(status)))
        elif message.route.operation in _WRITES:
            await session.tell(answer(message, new_stamp(), outcome(None, status)))
