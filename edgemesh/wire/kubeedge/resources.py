"""The resource of a Message inside CloudCore: that of the edge, behind the node that it is for.

``node/NODE/NAMESPACE/TYPE/NAME``. CloudHub takes the front off towards the edge and puts it on
towards the controllers.
"""

from __future__ import annotations

from typing import NamedTuple

from edgemesh.wire.message import MessageError

_FRONT = "node"


class NodeResource(NamedTuple):
    """Whose, and what as the edge writes it."""

    node: str
    resource: str

    def __str__(self) -> str:
        """The resource as it stands in a Message inside the cloud."""
        return f"{_FRONT}/{self.node}/{self.resource}"

    @classmethod
    def parse(cls, text: str) -> NodeResource:
        """Read the resource of a Message inside the cloud.

        Raises:
            MessageError: it does not name a node and something of it.
        """
        front, _, rest = text.partition("/")
        node, _, resource = rest.partition("/")
        if front != _FRONT or not node or not resource:
            raise MessageError(f"resource {text!r} is not node/NODE/...")
        return cls(node, resource)
