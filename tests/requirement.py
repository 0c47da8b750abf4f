"""How a test meets a privilege or a kernel feature that is missing."""

from __future__ import annotations

import os

import pytest


def unmet(reason: str) -> None:
    """Skip with the reason on a developer's machine; fail where everything must be there.

    CI sets EDGEMESH_REQUIRE_ALL, so that a check that did not run never counts as passed.
    """
    if os.environ.get("EDGEMESH_REQUIRE_ALL"):
        pytest.fail(f"required here: {reason}", pytrace=False)
    pytest.skip(reason)
