"""What a node says about its connection to the cloud."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class EdgehubStatus:
    """A node's connection to the cloud, and what came by it.

    Args:
        address: of the cloud.
        connected: whether the connection stands.
        seconds: since it is like that.
        peer: ``edgemesh`` or ``KubeEdge``, "" before the first connection.
        problem: what hinders the connection, or ended the last one; "" when nothing does.
        notices: what else an operator should know, one sentence each.
        store, revision: the cloud's store and how far it is on disk here; "" and 0 with KubeEdge.
        synced: whether that was all when the cloud last said so, and nothing came since.
        unsynced_seconds: since when it is not, 0 when it is.
        certificate_end: of this node's certificate, RFC 3339; "" when there is none.
        connections: that were made.
        messages: by what became of them.
        objects: that came, by what became of them.
        waiting: Messages that were received and are not on disk yet.
        refused: objects that cannot be stored, and why; the latest.
    """

    address: str
    connected: bool
    seconds: float
    peer: str = ""
    problem: str = ""
    notices: tuple[str, ...] = ()
    store: str = ""
    revision: int = 0
    synced: bool = False
    unsynced_seconds: float = 0.0
    certificate_end: str = ""
    connections: int = 0
    messages: Mapping[str, int] = field(default_factory=dict)
    objects: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)

    def problems(self) -> Iterator[str]:
        """What an operator should look at, one sentence each."""
        if not self.connected:
            yield f"cloud {self.address}: {self.problem or 'not connected yet'}"
        for notice in self.notices:
            yield f"cloud {self.address}: {notice}"
        for name, problem in self.refused.items():
            yield f"{name} of the cloud is not stored: {problem}"
