"""One HTTP request: the report of it, as the access log writes it."""

from __future__ import annotations

import msgspec


class RequestReport(msgspec.Struct, frozen=True, gc=False):
    """What happened to one request; made only when the access log wants it.

    A Struct, for it is encoded as it is: a dataclass takes four times as long to make.

    Args:
        protocol: ``http/1.0``, ``http/1.1``, ``http/2``, ``grpc`` or ``websocket``.
        client: ``address:port`` of the caller.
        client_pod: ``namespace/name``, "" when the caller is no Pod.
        method, host, path: as the client sent them; the path without its query.
        status: of the answer that the client got, 0 when it got none.
        reason: a Refusal when edgemesh answered, else why the exchange ended early; "" when all
            went well.
        grpc_status: as sent, "" when there was none.
        service: ``namespace/name:port``, "" when no Service was called.
        route: the key of the route that matched, "" for none.
        endpoint, endpoint_pod: the last that was tried, "" for none.
        attempts: how often the request was sent.
        bytes_sent: of the request's body; ``bytes_received`` of the response's.
        duration: in seconds, from the first byte of the request to the last of the response.
        upstream_duration: in seconds, from sending to the response's head; of the last attempt.
        query: after the ``?``; the access log writes it only when it is told to.
        way: how the endpoint was reached where that is by the bus.
        from_node: the end of the mesh that the request's stream came from, "" for none.
    """

    protocol: str
    client: str
    client_pod: str
    method: str
    host: str
    path: str
    status: int
    reason: str
    grpc_status: str
    service: str
    route: str
    endpoint: str
    endpoint_pod: str
    attempts: int
    bytes_sent: int
    bytes_received: int
    duration: float
    upstream_duration: float
    query: str = ""
    way: str = ""
    from_node: str = ""
