"""Our own answers as header blocks; gRPC clients get them as a status of gRPC."""

from __future__ import annotations

from edgemesh.model.flows import Refusal
from edgemesh.proxy.http.answers import Answer
from edgemesh.wire.http2 import grpc_fields
from edgemesh.wire.http2.block import Block
from edgemesh.wire.http2.heads import response_block

_NO_BODY = frozenset({204, 304})
# grpc/doc/statuscodes.md, and http-grpc-status-mapping.md for what it says about 400 and 404.
_GRPC_STATUSES = {
    Refusal.QUOTA: grpc_fields.RESOURCE_EXHAUSTED,
    Refusal.SERVER_QUOTA: grpc_fields.RESOURCE_EXHAUSTED,
    Refusal.TIMEOUT: grpc_fields.DEADLINE_EXCEEDED,
    Refusal.NO_ROUTE: grpc_fields.UNIMPLEMENTED,
    Refusal.MALFORMED: grpc_fields.INTERNAL,
}


def grpc_status_of(refusal: Refusal) -> int:
    """What a gRPC client is told of a refusal; UNAVAILABLE where nothing fits better."""
    return _GRPC_STATUSES.get(refusal, grpc_fields.UNAVAILABLE)


def http_answer(answer: Answer, method: str) -> tuple[Block, bytes]:
    """Head and body of an answer.

    Args:
        answer: what to say.
        method: of the request; an answer to HEAD has no body (RFC 9110 section 9.3.2).
    """
    body = answer.body.encode()
    headers = answer.headers
    if answer.status in _NO_BODY:
        body = b""
    else:
        headers += (("content-length", str(len(body))),)
    return response_block(answer.status, headers), b"" if method == "HEAD" else body


def grpc_answer(answer: Answer, refusal: Refusal) -> Block:
    """A refusal as Trailers-Only (grpc/doc/PROTOCOL-HTTP2.md): a head that is all."""
    message = grpc_fields.percent_encode(answer.body.strip())
    headers = tuple(item for item in answer.headers if item[0] != "content-type")
    return response_block(
        200,
        (
            ("content-type", "application/grpc"),
            ("grpc-status", str(grpc_status_of(refusal))),
            ("grpc-message", message),
            *headers,
        ),
    )
