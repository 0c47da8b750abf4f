"""What the answer of an endpoint says about its health."""

from __future__ import annotations

from edgemesh.policy.traffic.calls import Outcome

_FIRST_SERVER_ERROR = 500
_GATEWAY_ERRORS = frozenset({502, 503, 504})
# grpc/doc/statuscodes.md: what a server says of itself, not of what it was asked. The HTTP
# statuses that they stand for are those of grpc/doc/http-grpc-status-mapping.md and of
# google.rpc.Code: UNKNOWN 500, INTERNAL 500, UNAVAILABLE 503, DATA_LOSS 500.
_GRPC_ERRORS = frozenset({2, 13, 15})
_GRPC_DEADLINE_EXCEEDED = 4
_GRPC_UNAVAILABLE = 14


def outcome_of(status: int, grpc_status: int | None = None) -> Outcome:
    """How a call that was answered went, as far as its endpoint is to blame.

    Args:
        status: of the response.
        grpc_status: of a gRPC call, None of others.
    """
    if grpc_status and status < _FIRST_SERVER_ERROR:
        if grpc_status == _GRPC_UNAVAILABLE:
            return Outcome.GATEWAY_ERROR
        if grpc_status == _GRPC_DEADLINE_EXCEEDED:
            return Outcome.TIMEOUT
        return Outcome.SERVER_ERROR if grpc_status in _GRPC_ERRORS else Outcome.SUCCESS
    if status < _FIRST_SERVER_ERROR:
        return Outcome.SUCCESS
    return Outcome.GATEWAY_ERROR if status in _GATEWAY_ERRORS else Outcome.SERVER_ERROR
