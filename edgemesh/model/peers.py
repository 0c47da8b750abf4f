"""Other ends of the mesh, as this one sees them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Way(StrEnum):
    """How streams get to another end.

    Attributes:
        LINK: by a link to that node.
        HUB: by the link to the cloud, which forwards them.
        CLOUD: by the link to the cloud, where they end.
        NONE: not at all by links.
    """

    LINK = "link"
    HUB = "hub"
    CLOUD = "cloud"
    NONE = ""


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """How another end is reached.

    Args:
        node: its name, `model.streams.CLOUD` for the cloud.
        route: how new streams get there, "" when none do, or none has been asked for yet.
        address: ``address:port`` of the link in use, "" when there is none.
        since: seconds since this route holds.
        streams: that are open to it.
        round_trip_seconds: of the link in use, 0 when it was not measured.
        problem: why it is not reached directly, "" when it is or nobody has tried.
    """

    node: str
    route: Way
    address: str
    since: float
    streams: int
    round_trip_seconds: float
    problem: str
