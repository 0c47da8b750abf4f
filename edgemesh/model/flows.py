"""One flow: the facts that a decision is made from, and the report at its end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edgemesh.model.services import Transport
from edgemesh.model.streams import InboundStream


class Refusal(StrEnum):
    """Why a flow is not forwarded. The values are what operators read."""

    SELF_DESTINATION = "self-destination"
    NO_SERVICE = "no-service"
    NOT_ALLOWED = "not-allowed"
    NO_ENDPOINT = "no-endpoint"
    LIMIT = "limit"
    MALFORMED = "malformed"
    NO_ROUTE = "no-route"
    NO_BACKEND = "no-backend"
    QUOTA = "quota"
    SERVER_QUOTA = "server-quota"
    SERVER_OVERFLOW = "server-overflow"
    BREAKER_OPEN = "breaker-open"
    OVERFLOW = "overflow"
    TIMEOUT = "timeout"
    ENDPOINT_FAILED = "endpoint-failed"


# Where an answer of edgemesh's own says its Refusal.
REASON_HEADER = "x-edgemesh-reason"
# Said by the node of an endpoint that has all the calls that it may have: nothing is wrong with it.
AT_ITS_LIMIT = frozenset({Refusal.SERVER_QUOTA, Refusal.SERVER_OVERFLOW})


class Ending(StrEnum):
    """Why a flow that was forwarded, or should have been, is over."""

    CLOSED = "closed"
    CLIENT_RESET = "client-reset"
    ENDPOINT_RESET = "endpoint-reset"
    ENDPOINT_REMOVED = "endpoint-removed"
    CONNECT_FAILED = "connect-failed"
    CONNECT_TIMEOUT = "connect-timeout"
    IDLE_TIMEOUT = "idle-timeout"
    EVICTED = "evicted"
    DRAIN = "drain"
    REFUSED = "refused"
    ERROR = "error"


class Mover(StrEnum):
    """What moves the bytes of a TCP flow whose content is not looked at; they may take turns."""

    RELAY = "relay"  # copied through the agent
    SPLICE = "splice"  # splice(2), through pipes
    SOCKMAP = "sockmap"  # BPF, from socket to socket


@dataclass(frozen=True, slots=True)
class FlowFacts:
    """What is known about a flow before anything is decided.

    Args:
        transport: TCP or UDP.
        client: address and port of the caller.
        destination: the original destination, before interception.
        application_protocol: what was resolved, "" when it was not.
        server_name: from the ClientHello or the Host, "" when there was none.
        alpn: what a TLS client offers, in its order.
        stream: of another end of the mesh that it has come by, None where it came by itself.
    """

    transport: Transport
    client: tuple[str, int]
    destination: tuple[str, int]
    application_protocol: str = ""
    server_name: str = ""
    alpn: tuple[str, ...] = ()
    stream: InboundStream | None = None


@dataclass(slots=True)
class FlowReport:
    """What happened to one flow; exactly one is written for each.

    ``duration`` is in seconds; ``bytes_sent`` went from client to endpoint, ``bytes_received``
    from endpoint to client. ``service`` is the one that was called, and ``route`` the key of what
    led elsewhere. ``movers`` are those that moved bytes of it, in the order of their first.
    ``requests`` and ``refused_requests`` were counted on the way where a policy asks for it;
    ``unobserved`` says why not to the end. ``way`` is how the endpoint was reached where that is
    by the bus, ``from_node`` the end of the mesh whose stream it was.
    """

    transport: str
    client: str
    client_pod: str
    destination: str
    service: str
    route: str
    endpoint: str
    endpoint_pod: str
    path: str
    movers: tuple[str, ...]
    application_protocol: str
    server_name: str
    alpn: tuple[str, ...]
    attempts: int
    bytes_sent: int
    bytes_received: int
    duration: float
    ending: str
    reason: str
    requests: int = 0
    refused_requests: int = 0
    unobserved: str = ""
    way: str = ""
    from_node: str = ""
