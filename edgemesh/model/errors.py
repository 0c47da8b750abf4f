"""The one family of errors that a person made and a person can mend.

Peer and world failures are values or OSError and end in a flow's report; anything else is a
bug and crashes loudly.
"""

from __future__ import annotations


class OperatorError(Exception):
    """A mistake in an argument, a manifest, a configuration or a host's set-up.

    The command line prints it as one line and exits with 2.

    Args:
        problem: what is wrong, naming the thing: file, document, field, value.
        remedy: what to do about it, "" when the problem says it already.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        """The problem and, when there is one, the remedy."""
        return f"{self.problem} ({self.remedy})" if self.remedy else self.problem
