"""``retryOn``: Envoy's words for what a request is repeated for.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRetry, and
``x-envoy-retry-on`` and ``x-envoy-retry-grpc-on`` of Envoy's router filter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from edgemesh.model.policies import RetryOn as Reason

_REASONS: Mapping[str, frozenset[Reason]] = {
    "5xx": frozenset(
        {
            Reason.SERVER_ERROR,
            Reason.CONNECT_FAILURE,
            Reason.RESET,
            Reason.REFUSED_STREAM,
            Reason.TIMEOUT,
        }
    ),
    "gateway-error": frozenset({Reason.GATEWAY_ERROR}),
    "reset": frozenset({Reason.RESET, Reason.TIMEOUT}),
    "reset-before-request": frozenset({Reason.RESET}),
    "connect-failure": frozenset({Reason.CONNECT_FAILURE}),
    "refused-stream": frozenset({Reason.REFUSED_STREAM}),
    "retriable-status-codes": frozenset({Reason.STATUS}),
}
_GRPC_STATUSES: Mapping[str, int] = {
    "cancelled": 1,
    "deadline-exceeded": 4,
    "resource-exhausted": 8,
    "internal": 13,
    "unavailable": 14,
}
_STATUSES: Mapping[str, int] = {
    "retriable-4xx": 409,
    **{str(status): status for status in range(400, 600)},
}
_WORDS = (*_REASONS, "retriable-4xx", *_GRPC_STATUSES)
_KNOWN = frozenset({*_REASONS, *_GRPC_STATUSES, *_STATUSES})


class RetryOn(str):
    """Words with commas between them.

    What they mean together is named as `edgemesh.model.policies.Retries` has it.
    """

    __slots__ = ()
    description: ClassVar[str] = f"{', '.join(_WORDS)} or statuses from 400, with commas between"

    @classmethod
    def parse(cls, value: Any) -> RetryOn:
        """Check the words.

        Raises:
            ValueError: one is unknown.
        """
        if isinstance(value, str):
            read = cls(value)
            if _KNOWN.issuperset(read.words):
                return read
        raise ValueError(cls.description)

    @property
    def words(self) -> list[str]:
        """The words, one by one."""
        return [word.strip() for word in self.split(",") if word.strip()]

    @property
    def on(self) -> frozenset[Reason]:
        """Reasons."""
        return frozenset().union(*(_REASONS.get(word, ()) for word in self.words))

    @property
    def statuses(self) -> frozenset[int]:
        """Statuses of HTTP."""
        return frozenset(_STATUSES[word] for word in self.words if word in _STATUSES)

    @property
    def grpc_statuses(self) -> frozenset[int]:
        """Statuses of gRPC."""
        return frozenset(_GRPC_STATUSES[word] for word in self.words if word in _GRPC_STATUSES)


DEFAULT_RETRY_ON = RetryOn.parse("connect-failure,refused-stream,unavailable,cancelled,503")
