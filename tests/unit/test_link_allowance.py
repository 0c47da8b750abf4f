"""What another end of a link may do at once, and a second."""

from __future__ import annotations

from edgemesh.policy.bus.allowance import Allowance


def test_so_much_is_allowed_at_once_and_then_so_much_a_second() -> None:
    allowance = Allowance(3, 2, now=10)
    assert [allowance.take(10) for _ in range(4)] == [True, True, True, False]
    assert [allowance.take(11) for _ in range(3)] == [True, True, False]


def test_what_was_not_used_is_kept_up_to_the_burst() -> None:
    allowance = Allowance(3, 2, now=0)
    assert [allowance.take(1000) for _ in range(4)] == [True, True, True, False]
