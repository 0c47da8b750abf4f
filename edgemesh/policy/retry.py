"""Whether a request is sent again.

A request that may have changed something is not repeated: only idempotent methods are
(RFC 9110 section 9.2.2), or a request of which the endpoint surely saw nothing.
"""

from __future__ import annotations

from edgemesh.model.policies import Retries, RetryOn

_GATEWAY_ERRORS = frozenset({502, 503, 504})
_FIRST_SERVER_ERROR = 500


def reason_of(retries: Retries, status: int, grpc_status: int | None) -> RetryOn | None:
    """Why an answer is one that a request is repeated for, None when it is not.

    Args:
        retries: what counts.
        status: of the answer.
        grpc_status: of an answer that is over with its head, None for others.
    """
    if status in retries.statuses or grpc_status in retries.grpc_statuses:
        return RetryOn.STATUS
    if status in _GATEWAY_ERRORS and RetryOn.GATEWAY_ERROR in retries.on:
        return RetryOn.GATEWAY_ERROR
    if status >= _FIRST_SERVER_ERROR and RetryOn.SERVER_ERROR in retries.on:
        return RetryOn.SERVER_ERROR
    return None


def may_repeat(
    retries: Retries | None,
    reason: RetryOn,
    *,
    tries: int,
    connect_attempts: int,
    idempotent: bool,
    untouched: bool,
) -> bool:
    """Whether the rules allow one more try; budget and deadline are asked for besides.

    Args:
        retries: those of the route or the policy, None when there are none.
        reason: why the last try was of no use.
        tries: that were made, 1 or more.
        connect_attempts: how many endpoints may be tried for one that takes the request.
        idempotent: whether the method may be repeated.
        untouched: whether the endpoint surely saw nothing of the request.
    """
    if untouched and tries < connect_attempts:
        return True
    if retries is None or tries > retries.attempts:
        return False
    # A status that was asked for by number has no name of its own in `on`.
    if reason is not RetryOn.STATUS and reason not in retries.on:
        return False
    return untouched or idempotent or retries.any_method


def pause_seconds(retries: Retries | None, tries: int, random: float) -> float:
    """How long to wait before the next try: doubling, with full jitter of the upper half.

    Args:
        retries: as above; without them there is no pause.
        tries: that were made, 1 or more.
        random: a number in [0, 1).
    """
    if retries is None:
        return 0.0
    longest = retries.backoff_seconds * 2.0 ** min(tries - 1, 10)
    return longest * (0.5 + random / 2)
