"""Deadlines that policies may set, and the agent's configuration where they do not."""

from __future__ import annotations


def policy_or_setting(policy: float | None, setting: float) -> float:
    """Seconds that hold: the policy's, also if that is 0 for none; else the configuration's."""
    return setting if policy is None else policy
