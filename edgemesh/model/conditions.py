"""Conditions: how a policy object stands, as Kubernetes objects tell it in their status."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Condition:
    """One statement about an object.

    Args:
        type: what it is about: ``Accepted``, ``ResolvedRefs``, ``Programmed``.
        status: whether it holds.
        reason: why, as one word for programs.
        message: the same for people; "" when there is nothing to add.
    """

    type: str
    status: bool
    reason: str
    message: str = ""

    def body(self) -> dict[str, str]:
        """As it stands in ``status.conditions``."""
        status = "True" if self.status else "False"
        return {
            "type": self.type,
            "status": status,
            "reason": self.reason,
            "message": self.message,
        }
