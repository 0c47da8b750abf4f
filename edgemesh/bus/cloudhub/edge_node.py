"""What KubeEdge's nodes are sent, ask and write, as CloudCore's edgecontroller does it."""

from __future__ import annotations

from edgemesh.bus.cloudhub.changes import Changes, DownChange
from edgemesh.bus.cloudhub.down_feed import DownFeed
from edgemesh.bus.cloudhub.holdings import NodeHoldings
from edgemesh.bus.cloudhub.session import Session
from edgemesh.bus.stamp import new_stamp
from edgemesh.model.objects import ObjectKey
from edgemesh.policy.bus.authorization import Refused
from edgemesh.wire.kubeedge.answers import answer, error, failure, not_found
from edgemesh.wire.message import Message, Operation, decode_message

# What CloudCore since v1.8 leaves without an answer is not answered here either.
_ANSWERED = {"node": "Node", "pod": "Pod", "configmap": "ConfigMap"}


class EdgeNodes:
    """Serves KubeEdge's edges.

    Args:
        changes: of the store.
    """

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def holdings(self, node: str) -> NodeHoldings:
        """What belongs to a node."""
        return NodeHoldings(self._changes, node)

    def begin(self, session: Session) -> None:
        """Send the node its Node, its Pods, and what becomes of them."""
        node = session.node
        own = ObjectKey("Node", "", node)

        def is_wanted(change: DownChange) -> bool:
            return change.node == node or change.key == own

        feed = DownFeed(
            self._changes, is_wanted, session.end, since=self._changes.head, marks=False
        )
        for key in (own, *(change.key for change in self._changes.pods_on(node))):
            feed.ask_again(key)
        session.feed = feed

    async def answer(self, session: Session, message: Message) -> None:
        """Answer a query.

        Raises:
            NodeAwayError: the node went before it was answered.
            MessageError: the resource is no path.
        """
        path = message.resource
        kind = _ANSWERED.get(path.type)
        if message.route.operation != Operation.QUERY or kind is None:
            return
        namespace = "" if kind == "Node" else path.namespace
        change = self._changes.get(ObjectKey(kind, namespace, path.name))
        if change is None or change.deleted:
            content = error(not_found(path.type, path.name))
            await session.tell(answer(message, new_stamp(), content))
            return
        found = decode_message(change.text.encode())
        revision = found.header.resourceversion
        await session.tell(answer(message, new_stamp(), found.content, revision=revision))

    async def answer_refused(self, session: Session, message: Message, refused: Refused) -> None:
        """Tell a node that waits for an answer that it will get none; CloudCore does not.

        Raises:
            NodeAwayError: the node went before it was answered.
        """
        if message.route.operation == Operation.QUERY:
            content = error(failure(403, "Forbidden", refused.problem))
            await session.tell(answer(message, new_stamp(), content))
