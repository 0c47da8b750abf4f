"""What a node says to its cloud, besides keepalives and acknowledgements."""

from __future__ import annotations

from collections.abc import Sequence

from edgemesh.model.sync import SyncPosition
from edgemesh.wire.message import Group, Message, Operation, Stamp, new_message

SYNC = "all/sync"

_SOURCE = "edgehub"
# KubeEdge's module that keeps the node's own objects.
_KUBEEDGE_SOURCE = "edged"


def ask_for_sync(stamp: Stamp, position: SyncPosition) -> Message:
    """Tell an edgemesh cloud how far its store was followed, and ask for what comes after."""
    return new_message(
        stamp,
        source=_SOURCE,
        group=Group.RESOURCE,
        operation=Operation.QUERY,
        resource=SYNC,
        content={"store": position.store, "revision": position.revision},
    )


def tell_link(stamp: Stamp, node: str, addresses: Sequence[str], version: str) -> Message:
    """Tell an edgemesh cloud where links of other nodes are taken: ``address:port`` each."""
    return new_message(
        stamp,
        source=_SOURCE,
        group=Group.RESOURCE,
        operation=Operation.UPDATE,
        resource=f"null/nodelink/{node}",
        content={"addresses": list(addresses), "version": version},
    )


def query_own_node(stamp: Stamp, node: str) -> Message:
    """Ask a CloudCore for this node's Node, as EdgeCore does."""
    return new_message(
        stamp,
        source=_KUBEEDGE_SOURCE,
        group=Group.META,
        operation=Operation.QUERY,
        resource=f"default/node/{node}",
    )
