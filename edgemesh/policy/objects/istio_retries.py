"""When Istio repeats a request.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRetry, and
for its words ``x-envoy-retry-on`` and ``x-envoy-retry-grpc-on`` of Envoy's router filter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from edgemesh.model.policies import Retries, RetryOn
from edgemesh.wire.kubernetes.istio import virtual_service as spec

_RETRY_WORDS: Mapping[str, frozenset[RetryOn]] = {
    "5xx": frozenset(
        {
            RetryOn.SERVER_ERROR,
            RetryOn.CONNECT_FAILURE,
            RetryOn.RESET,
            RetryOn.REFUSED_STREAM,
            RetryOn.TIMEOUT,
        }
    ),
    "gateway-error": frozenset({RetryOn.GATEWAY_ERROR}),
    "reset": frozenset({RetryOn.RESET, RetryOn.TIMEOUT}),
    "reset-before-request": frozenset({RetryOn.RESET}),
    "connect-failure": frozenset({RetryOn.CONNECT_FAILURE}),
    "refused-stream": frozenset({RetryOn.REFUSED_STREAM}),
    "retriable-status-codes": frozenset({RetryOn.STATUS}),
}
_RETRIED_GRPC: Mapping[str, int] = {
    "cancelled": 1,
    "deadline-exceeded": 4,
    "resource-exhausted": 8,
    "internal": 13,
    "unavailable": 14,
}
_RETRIED_4XX = 409
_DEFAULT_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,503"


def retries_of(retries: spec.Retries) -> Retries:
    """What ``retries`` of a VirtualService's rule means; words that are not known are skipped."""
    words = _words(retries.retry_on or _DEFAULT_RETRY_ON)
    defaults = Retries()
    return Retries(
        attempts=retries.attempts,
        per_try_seconds=float(retries.per_try_timeout or 0),
        on=frozenset().union(*(_RETRY_WORDS.get(word, ()) for word in words)),
        statuses=frozenset(_statuses(words)),
        grpc_statuses=frozenset(_RETRIED_GRPC[word] for word in words if word in _RETRIED_GRPC),
        backoff_seconds=(
            defaults.backoff_seconds if retries.backoff is None else float(retries.backoff)
        ),
    )


def unknown_retry_words(retry_on: str) -> list[str]:
    """What edgemesh does not understand in ``retryOn``."""
    return [word for word in _words(retry_on) if not _is_known(word)]


def _words(retry_on: str) -> list[str]:
    return [word.strip() for word in retry_on.split(",") if word.strip()]


def _statuses(words: Iterable[str]) -> Iterator[int]:
    for word in words:
        if word == "retriable-4xx":
            yield _RETRIED_4XX
        elif word not in _RETRY_WORDS and _is_status(word):
            yield int(word)


def _is_known(word: str) -> bool:
    return (
        word in _RETRY_WORDS or word in _RETRIED_GRPC or word == "retriable-4xx" or _is_status(word)
    )


def _is_status(word: str) -> bool:
    return len(word) == 3 and word.isascii() and word.isdecimal() and "400" <= word <= "599"
