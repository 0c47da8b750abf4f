"""A trace as a page for people."""

from __future__ import annotations

from collections.abc import Sequence

from edgemesh.app.trace.call import Hop, HopState

_WIDTH = 11


def trace_page(hops: Sequence[Hop]) -> str:
    """One line for each hop, and a last one that names the first that fails."""
    lines = [f"{hop.name:<{_WIDTH}}{hop.state:<{_WIDTH}}{hop.detail}" for hop in hops]
    failed = first_failure(hops)
    if failed is None:
        return "\n".join([*lines, "the call works"])
    return "\n".join([*lines, f"the call fails at '{failed.name}': {failed.remedy}"])


def first_failure(hops: Sequence[Hop]) -> Hop | None:
    """The hop to mend first."""
    return next((hop for hop in hops if hop.state is HopState.FAILED), None)
