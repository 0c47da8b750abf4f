"""What a self-test finds."""

from __future__ import annotations


class NotWorkingError(Exception):
    """Something does not do here what it should; says what, in one sentence."""


def expect(truth: bool, otherwise: str) -> None:
    """See to it that something is so.

    Raises:
        NotWorkingError: it is not.
    """
    if not truth:
        raise NotWorkingError(otherwise)
