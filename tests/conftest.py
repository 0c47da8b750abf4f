"""What all tests share: marks, what Hypothesis minds, and what is left out of garbage."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import HealthCheck, settings
from requirement import unmet

# A machine that stands still for a moment makes neither a test slow nor its examples.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the tests that take minutes too")
    parser.addoption("--vm", action="store_true", help="run the tests in virtual machines too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unwanted = [mark for mark in ("long", "vm") if not config.getoption(f"--{mark}")]
    deselected = {item for item in items if any(map(item.get_closest_marker, unwanted))}
    if deselected:
        config.hook.pytest_deselected(items=list(deselected))
        items[:] = [item for item in items if item not in deselected]


def pytest_collection_finish() -> None:
    """Look for garbage among what tests make only: among all tests that there are it takes 0.8 s.

    Those that count descriptors collect it twice each.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _privileges(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("root") and os.geteuid() != 0:
        unmet("root")
