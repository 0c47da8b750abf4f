"""OPEN: what a stream is for, as a Message of KubeEdge's beehive.

Its route goes from the end that calls to the one that is to answer; group is ``mesh``, operation
``connect``, and the resource is what is called there: ``NAMESPACE/service/NAME``, or the
``null/servicebus/PORT`` of a node. The content says which port, endpoint and caller.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from edgemesh.model.services import PortKey, Transport
from edgemesh.model.streams import InboundStream, StreamRequest
from edgemesh.wire.host_port import joined, parse_host_port
from edgemesh.wire.link.frames import CONTROL_BYTES, LinkError, Violation
from edgemesh.wire.message import (
    Header,
    Message,
    MessageError,
    ResourcePath,
    Route,
    decode_message,
    encode_content,
    encode_message,
)

GROUP = "mesh"
OPERATION = "connect"
SERVICE = "service"
SERVICEBUS = "servicebus"


class Opening(NamedTuple):
    """What a stream is for.

    Args:
        source, destination: the end that opened it and the one where it ends.
        resource: what is called there.
        port: of the Service, or of the node's own host.
        transport: TCP or UDP.
        endpoint: ``address:port`` that the caller has chosen, "" where it leaves that.
        client: ``address:port`` of who calls, "" when nobody does.
        workload: ``namespace/name`` of the caller, "" when it is unknown.
        hops: how many ends have passed it on.
    """

    source: str
    destination: str
    resource: ResourcePath
    port: int
    transport: Transport = Transport.TCP
    endpoint: str = ""
    client: str = ""
    workload: str = ""
    hops: int = 0

    @classmethod
    def of(cls, request: StreamRequest, source: str) -> Opening:
        """How ``source`` asks for a stream to an endpoint of a Service."""
        namespace, service, _, port = request.port
        return cls(
            source,
            request.node,
            ResourcePath(namespace, SERVICE, service),
            port,
            request.transport,
            request.endpoint,
            joined(*request.client),
            request.workload,
        )

    def inbound(self) -> InboundStream:
        """The same to the end where it has come; ``resource`` is a Service, the client is known.

        Raises:
            ValueError: it is not so.
        """
        if self.resource.type != SERVICE or not self.resource.name:
            raise ValueError(f"{self.resource} is no Service")
        key: PortKey = (self.resource.namespace, self.resource.name, self.transport, self.port)
        client = parse_host_port(self.client)
        return InboundStream(self.source, key, self.endpoint, client, self.workload, self.transport)


class _Content(msgspec.Struct, frozen=True):
    port: Annotated[int, Meta(ge=1, le=65535)]
    transport: Transport = Transport.TCP
    endpoint: str = ""
    client: str = ""
    workload: str = ""
    hops: Annotated[int, Meta(ge=0, le=255)] = 0


_content_decoder = msgspec.json.Decoder(_Content)


def encode_opening(opening: Opening, message_id: str, timestamp: int) -> bytes:
    """The Message.

    Args:
        opening: what it says.
        message_id: a UUID.
        timestamp: milliseconds since 1970.

    Raises:
        ValueError: names within are too long for a frame.
    """
    message = encode_message(
        Message(
            header=Header(msg_id=message_id, timestamp=timestamp),
            route=Route(
                source=opening.source,
                destination=opening.destination,
                group=GROUP,
                operation=OPERATION,
                resource=str(opening.resource),
            ),
            content=encode_content(
                _Content(
                    opening.port,
                    opening.transport,
                    opening.endpoint,
                    opening.client,
                    opening.workload,
                    opening.hops,
                )
            ),
        )
    )
    if len(message) > CONTROL_BYTES:
        raise ValueError(f"what opens a stream to {opening.resource} takes {len(message)} bytes")
    return message


def decode_opening(payload: bytes) -> Opening:
    """Read the Message.

    Raises:
        LinkError: it is none, or not for opening a stream.
    """
    try:
        message = decode_message(payload)
        resource = message.resource
        content = _content_decoder.decode(message.content)
    except (MessageError, msgspec.DecodeError, RecursionError) as error:
        raise LinkError(Violation.MALFORMED, f"OPEN: {error}") from error
    route = message.route
    if (route.group, route.operation) != (GROUP, OPERATION):
        raise LinkError(
            Violation.MALFORMED, f"OPEN: {route.group!r} {route.operation!r} opens no stream"
        )
    if not route.source or not route.destination:
        raise LinkError(Violation.MALFORMED, "OPEN: it says not whose it is, or not where it goes")
    return Opening(
        route.source,
        route.destination,
        resource,
        content.port,
        content.transport,
        content.endpoint,
        content.client,
        content.workload,
        content.hops,
    )
