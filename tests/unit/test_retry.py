"""When a request is sent again, and what an answer says of its endpoint."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.policies import Retries, RetryOn
from edgemesh.policy.outcomes import outcome_of
from edgemesh.policy.retry import may_repeat, pause_seconds, reason_of
from edgemesh.policy.traffic.calls import Outcome

IDEMPOTENT = {"idempotent": True, "untouched": False}
UNSENT = {"idempotent": False, "untouched": True}
NEITHER = {"idempotent": False, "untouched": False}
NUMBERED = Retries(statuses=frozenset({409}), grpc_statuses=frozenset({8}), on=frozenset())


@pytest.mark.parametrize(
    ("retries", "status", "grpc_status", "reason"),
    [
        (Retries(), 503, None, RetryOn.GATEWAY_ERROR),
        (Retries(), 500, None, None),
        (Retries(on=frozenset({RetryOn.SERVER_ERROR})), 500, None, RetryOn.SERVER_ERROR),
        (Retries(on=frozenset({RetryOn.SERVER_ERROR})), 503, None, RetryOn.SERVER_ERROR),
        (Retries(), 200, None, None),
        (NUMBERED, 409, None, RetryOn.STATUS),
        (NUMBERED, 200, 8, RetryOn.STATUS),
        (NUMBERED, 503, 14, None),
    ],
)
def test_an_answer_is_a_reason_to_try_again_if_the_policy_says_so(
    retries: Retries, status: int, grpc_status: int | None, reason: RetryOn | None
) -> None:
    assert reason_of(retries, status, grpc_status) is reason


@pytest.mark.parametrize(
    ("retries", "reason", "tries", "kind", "repeated"),
    [
        (None, RetryOn.CONNECT_FAILURE, 1, UNSENT, True),
        (None, RetryOn.CONNECT_FAILURE, 3, UNSENT, False),
        (None, RetryOn.RESET, 1, IDEMPOTENT, False),
        (Retries(attempts=1), RetryOn.RESET, 1, IDEMPOTENT, True),
        (Retries(attempts=1), RetryOn.RESET, 2, IDEMPOTENT, False),
        (Retries(attempts=1), RetryOn.RESET, 1, NEITHER, False),
        (Retries(attempts=1, any_method=True), RetryOn.RESET, 1, NEITHER, True),
        (Retries(attempts=5), RetryOn.CONNECT_FAILURE, 4, UNSENT, True),
        (Retries(attempts=1, on=frozenset()), RetryOn.RESET, 1, IDEMPOTENT, False),
        (NUMBERED, RetryOn.STATUS, 1, IDEMPOTENT, True),
    ],
)
def test_a_request_is_repeated_only_as_the_rules_have_it(
    retries: Retries | None,
    reason: RetryOn,
    tries: int,
    kind: dict[str, bool],
    repeated: bool,
) -> None:
    assert repeated is may_repeat(
        retries,
        reason,
        tries=tries,
        connect_attempts=3,
        **kind,
    )


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_pauses_double_up_to_a_bound_and_are_spread(tries: int, random: float) -> None:
    longest = 0.025 * 2 ** min(tries - 1, 10)
    assert longest / 2 <= pause_seconds(Retries(), tries, random) <= longest
    assert pause_seconds(None, tries, random) == 0


@pytest.mark.parametrize(
    ("status", "grpc_status", "outcome"),
    [
        (200, None, Outcome.SUCCESS),
        (404, None, Outcome.SUCCESS),
        (500, None, Outcome.SERVER_ERROR),
        (503, None, Outcome.GATEWAY_ERROR),
        (200, 0, Outcome.SUCCESS),
        (200, 5, Outcome.SUCCESS),
        (200, 13, Outcome.SERVER_ERROR),
        (200, 14, Outcome.GATEWAY_ERROR),
        (200, 4, Outcome.TIMEOUT),
        (502, 14, Outcome.GATEWAY_ERROR),
    ],
)
def test_an_answer_says_how_its_endpoint_is(
    status: int, grpc_status: int | None, outcome: Outcome
) -> None:
    assert outcome_of(status, grpc_status) is outcome
